"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from valhalla.features.contracts import Feature, Platform
from valhalla.features.operations.limits import rules
from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.limits.rules import Request
from valhalla.kit.changes import Snapshot, View
from valhalla.kit.registry import Registry

if TYPE_CHECKING:
    from fastapi import APIRouter

REGISTRY = "rate_limits"


class Counting(Protocol):
    """Who counts by the rules: the gate, which stands above."""

    def usage(self, top: int) -> Mapping[str, Any]:
        """Return the members of ``UsageOut``."""
        ...

    def explain(self, request: Request) -> Mapping[str, Any]:
        """Return the members of ``TestOut``."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


class RateLimits(Feature):
    """The rules; ``counting`` is put in place by who enforces them."""

    name: ClassVar[str] = "limits"

    def __init__(self, platform: Platform) -> None:
        """Register the registry and follow it."""
        self.registry: Registry[LimitRule] = Registry(REGISTRY, LimitRule, platform.ledger, validate=rules.check)
        platform.feed.add(self.registry)
        self._feed = platform.feed
        self._db = platform.db
        self.view: View[tuple[LimitRule, ...]] = platform.feed.view(REGISTRY, _chosen)
        self.counting: Counting | None = None

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/rate-limits``."""
        from valhalla.features.operations.limits.api import router

        return (router(self.registry, self._db, self._feed.refresh, lambda: self.counting),)

    async def stop(self) -> None:
        """Close what counts."""
        if self.counting is not None:
            await self.counting.close()


def _chosen(snapshot: Snapshot[LimitRule]) -> tuple[LimitRule, ...]:
    return rules.chosen(record.value for record in snapshot.records.values())
