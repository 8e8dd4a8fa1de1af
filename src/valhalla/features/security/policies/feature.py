"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sqlalchemy.engine import Connection

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.security.policies import rules
from valhalla.features.security.policies.acting import EVERY, Reactor
from valhalla.features.security.policies.book import Book
from valhalla.features.security.policies.contracts import Deed, Grant, Policy, Source
from valhalla.features.security.policies.counting import Counters
from valhalla.features.security.policies.modes import Modes
from valhalla.features.security.policies.policing import Policing, Sources
from valhalla.features.security.policies.sharing import Sharing
from valhalla.features.security.policies.stock import STOCK
from valhalla.kernel.clock import isoformat
from valhalla.kit.changes import Snapshot, View
from valhalla.kit.registry import Delete, Put, Registry
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

REGISTRY: Final = "security_policies"
GRANTS: Final = "security_grants"
_LOOP: Final = loop("policies", EVERY, "does what policies want done, lets a raised mode fall back", patience=30)

_SHARING: Final = loop("policy-counts", 5.0, "counts together with the other processes", patience=30)


class Policies(Feature):
    """Policies and the security mode; ``policing`` is the gate's, ``reactor`` does what they want done."""

    name: ClassVar[str] = "policies"

    def __init__(self, platform: Platform) -> None:
        """Register the registries and follow them."""
        db, ledger, feed, clock = platform.db, platform.ledger, platform.feed, platform.clock
        self._db, self._feed, self._clock = db, feed, clock
        self.registry: Registry[Policy] = Registry(REGISTRY, Policy, ledger, validate=rules.check)
        self.grants: Registry[Grant] = Registry(GRANTS, Grant, ledger)
        feed.add(self.registry)
        feed.add(self.grants)
        self.modes = Modes(db, ledger, feed, clock=clock)
        self.book: View[Book] = feed.view(REGISTRY, _Binding())
        granted = feed.view(GRANTS, _granted)
        self.reactor = Reactor(db, ledger, self.modes, clock=clock)
        self.reactor.beat = partial(platform.beat, _LOOP.name)
        self.counters = Counters(clock)
        self.sharing = Sharing(self.counters)
        self.sharing.beat = partial(platform.beat, _SHARING.name)
        self.policing = Policing(Sources(self.book, granted), self.modes, self.counters, self.reactor, clock=clock)

    def on_caught(self, conn: Connection, source: Source, what: str) -> Sequence[Deed]:
        """Let policies judge what a honeypot caught, in the transaction that notes it; return what they did.

        ``reactor.performed`` is to be told of that after the commit.
        """
        mode = self.modes.mode
        decision, verdicts = rules.decide(
            self.book.value.on_honeypot(mode),
            "",
            lambda _: rules.source_values(source, mode),
            None,
            lambda policy: Deed(policy, source.address, None, what),
        )
        for verdict in verdicts:
            self.policing.count(verdict.policy, matched=verdict.matched)
        return [deed for deed in decision.deeds if self.reactor.perform(conn, deed)]

    async def grant(self, policy: str, principal: str, seconds: float) -> Mapping[str, Any]:
        """Let a principal pass what a policy holds, in every process; what has run out is removed."""
        now = self._clock.now()
        until = now + timedelta(seconds=seconds)

        def write(conn: Connection) -> None:
            over = [one.key for one in self.grants.load(conn)[1] if one.value.until <= now]
            ops = [Delete(key) for key in over if key != f"{policy}:{principal}"]
            put = Put(f"{policy}:{principal}", Grant(policy, principal, until))
            self.grants.bulk(conn, [put, *ops], actor=f"policy:{policy}", reason="a hold was approved")

        await self._db.run(write)
        await self.modes.settle()
        return {"policy": policy, "principal": principal, "until": isoformat(until)}

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/security/policies`` and ``/system/security/mode``."""
        from valhalla.features.security.policies.api import mode_router, policy_router

        snapshot: Callable[[], Snapshot[Policy]] = lambda: self._feed.snapshot(REGISTRY)  # noqa: E731
        return (
            policy_router(
                self.registry, snapshot, self.policing, self.status, self.modes, self._db, self._feed.refresh
            ),
            mode_router(self.modes, self._db),
        )

    def background(self) -> Mapping[str, Run]:
        """Return what does what policies want done."""
        return {"policies": self.reactor.run, "policies.counts": self.sharing.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP, _SHARING)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        from valhalla.features.security.policies.metrics import PolicyMetrics

        return (PolicyMetrics(self.policing, self.reactor, self.modes, lambda: self.sharing.heard),)

    def status(self) -> Mapping[str, Any]:
        """Return the mode, and what this process makes of the policies."""
        book = self.book.value
        return {
            "mode": self.modes.mode,
            "policies": book.size,
            "broken": dict(book.broken),
            "addresses": len(self.counters),
            "waiting_dropped": self.reactor.dropped,
            "counted_elsewhere": self.sharing.heard,
        }

    async def start(self) -> None:
        """Give a new control plane the policies that it begins with."""
        if self._feed.snapshot(REGISTRY).revision == 0:
            await self._db.run(self._stock)
            await self._feed.refresh()

    def _stock(self, conn: Connection) -> None:
        # of several processes that start at once one writes; who has deleted them all has a revision, and keeps it so
        if self.registry.lock(conn) == 0:
            puts = [Put(policy.name, policy, 0) for policy in STOCK]
            self.registry.bulk(conn, puts, actor="system", reason="what a control plane begins with")


class _Binding:
    """Makes the book of a snapshot; conditions that did not change are not compiled again."""

    def __init__(self) -> None:
        self._before: Book | None = None

    def __call__(self, snapshot: Snapshot[Policy]) -> Book:
        self._before = Book((record.value for record in snapshot.records.values()), self._before)
        return self._before


def _granted(snapshot: Snapshot[Grant]) -> Mapping[tuple[str, str], Grant]:
    return {(one.value.policy, one.value.principal): one.value for one in snapshot.records.values()}
