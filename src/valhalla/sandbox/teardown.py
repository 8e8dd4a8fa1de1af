"""Ending a sandbox: cut access first, then drop, each step idempotent and resumed after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy.engine import Connection

from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import IllegalTransition, Problem, Unavailable
from valhalla.kit import lifecycle, outbox
from valhalla.kit.db import Database
from valhalla.kit.faults import crashpoint
from valhalla.kit.histogram import Histogram
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.sandbox import store
from valhalla.sandbox.backends import Backends
from valhalla.sandbox.contracts import LIFECYCLE, Route, Sandbox
from valhalla.sandbox.marking import mark_at_once
from valhalla.sandbox.slices.contracts import Slice
from valhalla.sandbox.tables import sandboxes

_log = get_logger("sandbox.teardown")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one worker may hold a transient state before the reaper takes over, and how long an orphan may age."""

    lease: timedelta = timedelta(seconds=30)
    orphan_grace: timedelta = timedelta(minutes=10)


class Teardown:
    """Takes sandboxes from any live state to ``destroyed``."""

    def __init__(
        self, db: Database, backends: Backends, ledger: Ledger, clock: Clock, timing: Timing | None = None
    ) -> None:
        self._db = db
        self._backends = backends
        self.ledger = ledger
        self._clock = clock
        self._timing = timing or Timing()
        self.release_routes: Callable[[str, Sequence[Route]], Awaitable[None]] = _nobody_follows
        """Gives the events of what a sandbox held back to production."""
        self.cut_seconds = Histogram("valhalla_sandbox_cut_seconds", "From the decision until no credential works")

    def mark(
        self,
        conn: Connection,
        sandbox_id: str,
        *,
        actor: str,
        action: str,
        reason: str,
        error: str | None = None,
        sources: tuple[str, ...] | None = None,
        alert: Mapping[str, Any] | None = None,
        freed: list[Route] | None = None,
    ) -> Sandbox:
        """Move a sandbox to ``destroying`` and free its name, routes and place in the owner's limit.

        ``sources`` narrows the states it may be taken from: whoever ends what it found stuck must not end what has
        moved on meanwhile. ``alert`` is told in the ledger and in an event of its own, ``sandbox.{action}``;
        a failure always is. ``freed`` gets the routes that it had.

        Raises:
            Conflict: it is in none of ``sources`` any more.
            NotFound, IllegalTransition: there is none, or it is already past that.
        """
        now = self._clock.now()
        values: dict[str, Any] = {
            "lease_until": now + self._timing.lease,
            "last_error": error and error[:500],
        }
        if action == "failed":
            # a failed creation must not answer for a retry with the same key
            values["idempotency_key"] = None
        details: dict[str, Any] = {"reason": reason, **(alert or {})} | ({"error": error} if error else {})
        row = lifecycle.take(
            conn,
            LIFECYCLE,
            sandboxes,
            key=sandbox_id,
            to="destroying",
            sources=sources,
            values=values,
            ledger=self.ledger,
            actor=actor,
            kind="sandbox",
            action=action,
            details=details,
        )
        routes = store.unlink_all(conn, sandbox_id)
        if freed is not None:
            # a transaction that is repeated begins anew
            freed[:] = routes
        for route in routes:
            self.ledger.append(
                conn,
                actor=actor,
                action="route_unlinked",
                kind="sandbox",
                subject=sandbox_id,
                details={"route": str(route), "reason": action},
            )
        sandbox = store.from_row(row)
        if alert is not None or action == "failed":
            emit(conn, sandbox, f"sandbox.{action}", reason=reason, **(alert or {"error": error and error[:500]}))
        emit(conn, sandbox, "sandbox.destroying", reason=reason)
        return sandbox

    async def begin(
        self,
        sandbox_id: str,
        *,
        actor: str,
        action: str = "destroying",
        reason: str,
        error: str | None = None,
        sources: tuple[str, ...] | None = None,
        seen: Sandbox | None = None,
        alert: Mapping[str, Any] | None = None,
    ) -> Sandbox:
        """Mark the sandbox and cut all access. When this returns, no credential works and no connection lives.

        ``seen`` is the sandbox as it was just read: if it still is so, the mark takes one round trip.

        Raises:
            Unavailable: a backend could not be reached; the decision stands and the reaper repeats the cut.
        """
        started = self._clock.monotonic()
        freed: list[Route] = [] if seen is None else list(seen.routes)
        sandbox = None if seen is None else await self._mark_seen(seen, actor=actor, reason=reason)
        if sandbox is None:
            sandbox = await self._db.run(
                self.mark,
                sandbox_id,
                actor=actor,
                action=action,
                reason=reason,
                error=error,
                sources=sources,
                alert=alert,
                freed=freed,
            )
        crashpoint("destroy.marked")
        releasing = asyncio.ensure_future(self._release(sandbox, freed)) if freed else None
        failures = await self._backends.cut(sandbox.names)
        if releasing is not None:
            await releasing
        if failures:
            await self._note(sandbox.id, failures)
            raise _unfinished(sandbox, failures)
        crashpoint("destroy.cut")
        self.cut_seconds.observe(self._clock.monotonic() - started)
        return sandbox

    async def _release(self, sandbox: Sandbox, routes: Sequence[Route]) -> None:
        try:
            await self.release_routes(sandbox.id, routes)
        except Problem as problem:
            _log.warning("routes are left to their keeper", sandbox_id=sandbox.id, error=problem.detail)

    async def _mark_seen(self, seen: Sandbox, *, actor: str, reason: str) -> Sandbox | None:
        now = self._clock.now()
        marked = await mark_at_once(
            self._backends.postgres.pools,
            self.ledger,
            seen,
            actor=actor,
            reason=reason,
            now=now,
            lease_until=now + self._timing.lease,
        )
        return replace(seen, status="destroying", routes=(), last_error=None) if marked else None

    async def abandon(self, sandbox: Sandbox, *, actor: str, error: str, away: Collection[str]) -> None:
        """End a creation that failed; nothing is waited for in the backends that are ``away``, the reaper goes there.

        Raises:
            Conflict, NotFound: somebody else has ended it; what the creation made is removed all the same.
            Unavailable: the registry cannot be reached; the same.
        """
        if "postgres" in away:
            # neither can the registry be told: the lease runs out, and the reaper does
            await self._backends.each("drop", sandbox.names, partial(self._end, sandbox, recut=True), without=away)
            return
        try:
            sandbox = await self._db.run(
                self.mark, sandbox.id, actor=actor, action="failed", reason="creation failed", error=error
            )
        finally:
            await self.finish(sandbox, actor=actor, recut=True, away=away)

    async def finish(self, sandbox: Sandbox, *, actor: str, recut: bool = False, away: Collection[str] = ()) -> bool:
        """Drop everything and mark the sandbox destroyed; False when something is left for the reaper.

        ``recut`` repeats the cut first, for a sandbox whose earlier worker is not known to have finished it. Slices
        that are ``away`` are not asked.
        """

        # a backend that is away does not keep the others from finishing
        failures = await self._backends.each(
            "drop", sandbox.names, partial(self._end, sandbox, recut=recut), without=away
        )
        failures |= {name: Unavailable(name, f"{name} did not answer") for name in away}
        if failures:
            await self._note(sandbox.id, failures)
            return False
        crashpoint("destroy.dropped")
        await self._db.run(self._settle, sandbox, actor=actor)
        return True

    async def _end(self, sandbox: Sandbox, part: Slice, *, recut: bool) -> None:
        if recut:
            await part.cut(sandbox.names)
        await part.drop(sandbox.names)

    def _settle(self, conn: Connection, sandbox: Sandbox, *, actor: str) -> None:
        # what went wrong on the way is over; why a sandbox that nobody wanted to end has ended is not
        over_quota = (sandbox.last_error or "").startswith(store.QUOTA)
        cause = sandbox.last_error.partition(store.CAUSE_END)[0] if sandbox.last_error and over_quota else None
        try:
            lifecycle.take(
                conn,
                LIFECYCLE,
                sandboxes,
                key=sandbox.id,
                to="destroyed",
                values={"destroyed_at": self._clock.now(), "lease_until": None, "last_error": cause},
                ledger=self.ledger,
                actor=actor,
                kind="sandbox",
                action="destroyed",
            )
        except IllegalTransition as problem:
            if problem.extra.get("current") != "destroyed":
                raise
            return
        emit(conn, sandbox, "sandbox.destroyed")

    async def _note(self, sandbox_id: str, failures: Mapping[str, BaseException]) -> None:
        text = "; ".join(f"{name}: {_plain(error)}" for name, error in failures.items())
        _log.warning("sandbox teardown is unfinished", sandbox_id=sandbox_id, error=text)
        await self._db.run(store.note_error, sandbox_id, text, retry_at=self._clock.now())


async def _nobody_follows(_sandbox_id: str, _routes: Sequence[Route]) -> None:
    """Take the place of routing where there is none."""


def emit(conn: Connection, sandbox: Sandbox, event: str, /, **data: Any) -> None:
    """Write a sandbox's domain event in the transaction of its cause."""
    document = {"id": sandbox.id, "name": sandbox.name, "owner": sandbox.owner, **data}
    outbox.emit(conn, subject=f"sandbox.{sandbox.id}", type=event, data=document)


def _plain(error: BaseException) -> str:
    return error.detail if isinstance(error, Problem) else f"{type(error).__name__}: {error}"


def _unfinished(sandbox: Sandbox, failures: Mapping[str, BaseException]) -> Unavailable:
    first = next((e.backend for e in failures.values() if isinstance(e, Unavailable)), next(iter(failures)))
    return Unavailable(
        first,
        f"the sandbox is being destroyed, but access could not be cut in {', '.join(sorted(failures))};"
        " the reaper repeats it until it succeeds",
        sandbox_id=sandbox.id,
        sandbox_status="destroying",
    )


def lease_end(clock: Clock, timing: Timing) -> datetime:
    """Return until when a worker that starts now may hold a transient state."""
    return clock.now() + timing.lease
