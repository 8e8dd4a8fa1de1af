"""The feature as the composition root sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, ReadinessCheck, Run
from valhalla.features.security.blocklist.contracts import REGISTRY, Compile
from valhalla.features.security.blocklist.doorman import Doorman, asking
from valhalla.features.security.blocklist.feeding import Feeding
from valhalla.features.security.blocklist.hits import Hits
from valhalla.features.security.blocklist.intake import Intake
from valhalla.features.security.blocklist.keeping import Keeper
from valhalla.features.security.blocklist.recent import Recent
from valhalla.features.security.blocklist.service import BlockService, block_registry
from valhalla.features.security.blocklist.summing import Summing
from valhalla.features.security.blocklist.sweeping import PRUNE, Sweeper
from valhalla.features.security.blocklist.whence import Whence
from valhalla.kit.checks import Verdict
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

    from valhalla.work.schedules import Schedule

_FOLLOWING: Final = loop("blocklist", 5.0, "follows the blocklist", patience=60)
_COUNTING: Final = loop("blocklist-hits", 5.0, "counts what the blocklist refused", patience=60)
_SWEEPING: Final = loop("blocklist-sweep", 5.0, "removes rules that have expired", patience=30)
_HELP: Final = "The rules that were read keep holding; look at the database and the log of 'blocklist'."


class Blocklist(Feature):
    """Who is not let in: ``doorman`` is asked by the gate, ``service`` by other features (``Blocking``)."""

    name: ClassVar[str] = "blocklist"

    def __init__(self, platform: Platform) -> None:
        """Register the registry, and follow it without a snapshot."""
        self._db, self._clock, self._ledger = platform.db, platform.clock, platform.ledger
        registry = block_registry(platform.ledger)
        self.keeper = Keeper(platform.db)
        self.keeper.beat = partial(platform.beat, _FOLLOWING.name)
        platform.feed.attend(REGISTRY, self.keeper.told)
        self.hits = Hits(platform.db, platform.clock.now)
        self.hits.beat = partial(platform.beat, _COUNTING.name)
        self.recent = Recent()
        many = block_registry(Summing(platform.ledger))
        self.service = BlockService(registry, many, self.keeper, asking, platform.clock)
        self.feeding = Feeding(many, self.keeper, asking, platform.clock.now)
        self.intake = Intake(platform.db, many, platform.ledger, self.keeper, self.recent)
        self._whence = Whence(platform.settings.country_header, platform.settings.asn_header)
        self.doorman = Doorman(
            self.keeper,
            self.hits,
            self.recent,
            platform.clock.now,
            self._whence,
        )
        self._sweeper = Sweeper(platform.db, self.service, platform.clock.now)
        self._sweeper.beat = partial(platform.beat, _SWEEPING.name)
        platform.jobs.job(PRUNE.job, queue="valhalla")(self._sweeper.prune)

    def compile_with(self, compile: Compile) -> None:  # noqa: A002
        """Let conditions (rules of type ``cel``) be evaluated; before the start."""
        self.keeper.compile_with(compile)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/security/blocklist``, and the rules for other gates."""
        from valhalla.features.security.blocklist.api import router
        from valhalla.features.security.blocklist.face import rule_face
        from valhalla.features.security.blocklist.giving import giver

        face = rule_face(self.service, self.hits.of, self._clock.now)
        return (
            router(self.service, face, self.intake, self.keeper, self.recent, self.hits, self._db, self._clock.now),
            giver(self._db, self.keeper, self._whence),
        )

    async def start(self) -> None:
        """Read every rule: from the first request on who is blocked is not let in."""
        await self.keeper.refresh()

    def background(self) -> Mapping[str, Run]:
        """Return what follows, counts and sweeps."""
        return {
            "blocklist": self.keeper.run,
            "blocklist.hits": self.hits.run,
            "blocklist.sweep": self._sweeper.run,
        }

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_FOLLOWING, _COUNTING, _SWEEPING)

    def schedules(self) -> Sequence[Schedule]:
        """Return when counts of rules that are gone are removed."""
        return (PRUNE,)

    def readiness(self) -> Sequence[ReadinessCheck]:
        """Return whether the rules are those that were written."""
        return (ReadinessCheck("blocklist", self._current, _HELP),)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        from valhalla.features.security.blocklist.metrics import BlocklistMetrics

        return (BlocklistMetrics(self.keeper, self.hits, lambda: self._sweeper.swept),)

    def status(self) -> Mapping[str, Any]:
        """Return how many rules hold here."""
        index = self.keeper.index
        return {"rules": len(index.blocked), "allowed": len(index.allowed), "revision": self.keeper.revision}

    async def _current(self) -> Verdict:
        if self.keeper.error is not None:
            return Verdict(ok=False, reason=self.keeper.error)
        if self.keeper.behind:
            # what was written a moment ago is on its way
            await asyncio.sleep(0.5)
        behind = self.keeper.behind
        return Verdict(ok=behind < 10_000, reason=f"{behind} changes behind" if behind >= 10_000 else None)
