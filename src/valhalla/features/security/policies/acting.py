"""What policies want done, done off the path of the request: at once, in order, each thing once in a while."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.features.security.blocklist import Blocking
from valhalla.features.security.blocklist.contracts import RuleType
from valhalla.features.security.policies.contracts import Deed, Hold
from valhalla.features.security.policies.counting import is_shared
from valhalla.features.security.policies.modes import Modes
from valhalla.kernel.clock import Clock, isoformat
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.outbox import emit
from valhalla.kit.waiting import Backoff, first_of
from valhalla.kit.writing import upkeep

EVERY: Final = 1.0
_MOST: Final = 2_000
_AGAIN: Final = 5.0
"""Seconds in which the same thing is not done again: a storm of requests blocks, and is told, once."""
_LATELY: Final = 300.0
_VERBS: Final = {"log": "matched", "challenge": "refused", "block": "blocked", "elevate": "elevated", "hold": "held"}
_log = get_logger("policies")


class Reactor:
    """Takes deeds; ``blocklist`` and ``hold`` are put in place by who composes the features."""

    def __init__(self, db: Database, ledger: Ledger, modes: Modes, *, clock: Clock) -> None:
        self._db, self._ledger, self._modes, self._clock = db, ledger, modes, clock
        self._waiting: deque[Deed] = deque()
        self._done: dict[tuple[str, str], float] = {}
        self._performed: dict[tuple[str, str], float] = {}
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.beat: Callable[[], None] = lambda: None
        self.blocklist: Blocking | None = None
        self.hold: Hold | None = None
        self.done = self.dropped = 0

    def take(self, deed: Deed) -> None:
        """Take a deed, from any thread; never waits."""
        key = _key(deed)
        now = self._clock.monotonic()
        if now - self._done.get(key, -_AGAIN) < _AGAIN:
            return
        if len(self._waiting) >= _MOST:
            self.dropped += 1
            return
        if len(self._done) >= _MOST:
            self._done = {each: at for each, at in self._done.items() if now - at < _AGAIN}
        self._done[key] = now
        self._waiting.append(deed)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def perform(self, conn: Connection, deed: Deed) -> bool:
        """Do a deed in the transaction of its cause, if it was not done lately; a raised mode comes right after.

        ``performed`` has to be told once that is committed.
        """
        if deed.policy.action == "elevate":
            self.take(deed)
            return True
        pause = min(deed.policy.duration / 4, _LATELY)
        if self._clock.monotonic() - self._performed.get(_key(deed), -pause) < pause:
            # what lasts for an hour need not be prolonged with everything that a sensor sees
            return False
        self._write(conn, deed, {})
        return True

    def performed(self, deeds: Iterable[Deed]) -> None:
        """Remember deeds whose transaction is committed."""
        now = self._clock.monotonic()
        if len(self._performed) >= _MOST:
            self._performed = {key: at for key, at in self._performed.items() if now - at < _LATELY}
        for deed in deeds:
            self._performed[_key(deed)] = now

    async def run(self, stop: asyncio.Event) -> None:
        """Do what comes until told to stop; also say when a raised mode has run out."""
        self._loop = asyncio.get_running_loop()
        backoff = Backoff(0.2, 10.0)
        pause = EVERY
        while not stop.is_set():
            self.beat()
            await first_of(self._wake, stop, seconds=pause)
            self._wake.clear()
            try:
                await self.drain()
                if self._modes.is_over:
                    await self._modes.fall_back()
            except Unavailable as problem:
                pause = backoff.next()
                _log.warning("what policies want done waits", error=problem.detail, waiting=len(self._waiting))
            except Exception:  # noqa: BLE001 - it must do the next
                pause = EVERY
                _log.exception("what a policy wants done failed")
            else:
                pause = EVERY
                backoff.reset()

    async def drain(self) -> None:
        """Do what waits now.

        Raises:
            Unavailable: the database cannot be reached; it waits on.
        """
        while self._waiting:
            deed = self._waiting[0]
            try:
                await self._do(deed)
            except Unavailable:
                raise
            except Exception:
                # the same would come of it the next time
                self._waiting.popleft()
                self.dropped += 1
                raise
            self._waiting.popleft()
            self.done += 1

    async def _do(self, deed: Deed) -> None:
        policy = deed.policy
        more: Mapping[str, Any] = {}
        with upkeep():
            if policy.action == "elevate":
                if not await self._modes.raise_for(policy, deed.what):
                    return
                more = {"mode": policy.mode}
            elif policy.action == "hold":
                if self.hold is None or deed.principal is None:
                    return
                more = await self.hold(deed)
            await self._db.run(self._write, deed, more)
        if policy.action == "block":
            await self._modes.settle()

    def _write(self, conn: Connection, deed: Deed, more: Mapping[str, Any]) -> None:
        """Block, tell and note in one transaction."""
        policy = deed.policy
        # a caller on a Unix socket has no address, one on loopback everybody's: only the refusal is left
        kind, value = whom(deed)
        if (
            policy.action == "block"
            and self.blocklist is not None
            and value
            and not (kind == "ip" and is_shared(value))
        ):
            more = {"expires_at": isoformat(self._block(conn, self.blocklist, deed))}
        tell(conn, self._ledger, deed, more)

    def _block(self, conn: Connection, blocklist: Blocking, deed: Deed) -> datetime:
        policy = deed.policy
        kind, value = whom(deed)
        expires_at = self._clock.now() + timedelta(seconds=policy.duration)
        blocklist.block(
            conn,
            type=kind,
            value=value,
            reason=f"{policy.description or policy.name}: {deed.what}"[:500],
            source=f"policy:{policy.name}",
            actor=f"policy:{policy.name}",
            severity="error" if policy.on == "honeypot" else "warning",
            expires_at=expires_at,
        )
        return expires_at


def _key(deed: Deed) -> tuple[str, str]:
    return (deed.policy.name, whom(deed)[1])


def tell(conn: Connection, ledger: Ledger, deed: Deed, more: Mapping[str, Any]) -> None:
    """Say what a policy did, to those who follow events and to the ledger."""
    policy = deed.policy
    kind = f"policy.{_VERBS[policy.action]}"
    data = {
        "policy": policy.name,
        "subject": whom(deed)[1],
        "address": deed.address,
        "principal": None if deed.principal is None else deed.principal.id,
        "what": deed.what,
        **more,
    }
    emit(conn, subject="policy.acted", type=kind, data=data)
    if policy.action != "log":
        actor = f"policy:{policy.name}"
        ledger.append(conn, actor=actor, action=kind, kind="policy", subject=policy.name, details=data)


def whom(deed: Deed) -> tuple[RuleType, str]:
    """Return whom a policy means: the owner or key if it says so and there is one, else the address."""
    subject, principal = deed.policy.subject, deed.principal
    if principal is not None and subject == "owner":
        return "principal", principal.owner
    if principal is not None and (subject == "key" or deed.policy.action == "hold"):
        return "api_key", principal.id
    return "ip", deed.address or ""
