"""What a seal tells: the attempts it saw and the layers that were in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from valhalla.kernel.clock import isoformat

MAX_ATTEMPTS: Final = 1000


class Layer(StrEnum):
    """Where a seal stands. ``L1`` are the declared actions, which the guard itself holds."""

    PROTOCOL = "L2"
    AUDIT = "L3"
    KERNEL = "L4"


EVERY: Final = frozenset(Layer)

Verdict = Literal["blocked", "read"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to reach out. ``size`` is in bytes, ``None`` when unknown; ``excerpt`` is redacted.

    ``verdict`` is ``blocked``, or ``read`` for a request that was let through because it only reads.
    """

    what: str
    where: str
    size: int | None
    excerpt: str
    layer: Layer
    verdict: Verdict
    at: datetime

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON members."""
        return {
            "what": self.what,
            "where": self.where,
            "size": self.size,
            "excerpt": self.excerpt,
            "layer": str(self.layer),
            "verdict": self.verdict,
            "at": isoformat(self.at),
        }


@dataclass(frozen=True, slots=True)
class Cover:
    """Whether a layer was in place, and what limits it, or why it was not."""

    active: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The layers of a seal on this platform. docs/egress.md names the holes of each."""

    layers: Mapping[Layer, Cover]

    @property
    def active(self) -> tuple[Layer, ...]:
        """The layers that were in place."""
        return tuple(layer for layer in Layer if layer in self.layers and self.layers[layer].active)

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON members."""
        return {
            str(layer): {"active": cover.active, "reason": cover.reason} for layer, cover in sorted(self.layers.items())
        }
