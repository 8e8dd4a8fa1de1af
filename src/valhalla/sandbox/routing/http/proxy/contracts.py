"""The frozen values of the proxy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from valhalla.kit.outgoing_guard import Base

PATHS: Final = "/.valhalla/"
HEALTH: Final = "/.valhalla/health"
ROUTED: Final = "valhalla-routed"
"""The header of answers that says who gave them."""
MEMBER: Final = "valhalla-sandbox"
"""The member of W3C baggage that names a sandbox; its property ``key`` proves it."""

By = Literal["path", "key", "baggage", "header"]
Instead = Literal["refuse", "production"]
Reason = Literal["unproven", "ended", "no-upstream", "upstream-down"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What selects a sandbox here, and what becomes of requests that cannot be sent to theirs.

    ``headers`` are those whose claims count, in this order. ``trust_names``: who names a sandbox needs no key.
    ``ended``, ``down`` and ``blind`` say what becomes of a request whose sandbox has ended, whose upstream cannot be
    reached, or of any while nobody knows the present routes.
    """

    headers: tuple[str, ...] = ()
    trust_names: bool = False
    ended: Instead = "production"
    down: Instead = "refuse"
    blind: Instead = "production"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go; ``sandbox`` is None for production."""

    base: Base
    sandbox: str | None = None
    name: str = "production"
    own_host: bool = False

    @property
    def root(self) -> str:
        """The URL that a path is written behind."""
        return f"{self.base.scheme}://{self.base.host}:{self.base.port}{self.base.path}"


@dataclass(frozen=True, slots=True)
class Known:
    """The upstreams of sandboxes now."""

    by_id: Mapping[str, Target] = field(default_factory=dict[str, Target])
    by_name: Mapping[str, Target] = field(default_factory=dict[str, Target])


@dataclass(frozen=True, slots=True)
class Choice:
    """Whose a request is. ``sandbox`` None is production; ``target`` is absent where the sandbox has no upstream.

    ``path`` is what is asked for. ``why`` is set when something named a sandbox, and production has it all the same.
    """

    path: str
    sandbox: str | None = None
    target: Target | None = None
    by: By | None = None
    header: str | None = None
    why: Reason | None = None
