"""The feature as the composition root sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.operations.limits import rules
from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.limits.rules import Request
from valhalla.kit.changes import Snapshot, View
from valhalla.kit.log import get_logger
from valhalla.kit.registry import Registry
from valhalla.kit.waiting import first_of
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter

REGISTRY = "rate_limits"
_EVERY: Final = 5.0
_LOOP: Final = loop("limit-usage", _EVERY, "tells the other processes what is used of limits", patience=30)
_log = get_logger("limits")


class Counting(Protocol):
    """Who counts by the rules: the gate, which stands above."""

    def usage(self, top: int) -> Mapping[str, Any]:
        """Return the members of ``UsageOut``."""
        ...

    async def usage_of_all(self, top: int) -> Mapping[str, Any]:
        """Return the same of every process, as far as they tell."""
        ...

    async def publish(self) -> None:
        """Tell the other processes what is used here."""
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
        self._beat = partial(platform.beat, _LOOP.name)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/rate-limits``."""
        from valhalla.features.operations.limits.api import router

        return (router(self.registry, self._db, self._feed.refresh, lambda: self.counting),)

    def background(self) -> Mapping[str, Run]:
        """Return what tells of usage."""
        return {"limits.usage": self._run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._beat()
            if self.counting is not None:
                try:
                    await self.counting.publish()
                except Exception:  # noqa: BLE001 - the next turn tells it
                    _log.exception("what is used of limits could not be told")
            await first_of(stop, seconds=_EVERY)

    async def stop(self) -> None:
        """Close what counts."""
        if self.counting is not None:
            await self.counting.close()


def _chosen(snapshot: Snapshot[LimitRule]) -> tuple[LimitRule, ...]:
    return rules.chosen(record.value for record in snapshot.records.values())
