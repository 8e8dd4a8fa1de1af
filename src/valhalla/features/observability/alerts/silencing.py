"""Silences: made, changed and ended."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.observability.alerts.contracts import Matcher, Silence
from valhalla.features.observability.alerts.errors import NoSuchSilence, SilenceEnded
from valhalla.features.observability.alerts.matching import check_matchers, state_of
from valhalla.features.observability.alerts.policy import Policy
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kernel.problems import Invalid
from valhalla.kit.db import Database
from valhalla.kit.registry import Delete

KEPT: Final = timedelta(days=5)
_MOST: Final = 1000


class SilenceService:
    """Silences are records of a registry: every change has its history, and every process hears of it."""

    def __init__(self, db: Database, policy: Policy, settle: Callable[[], Awaitable[None]], *, clock: Clock) -> None:
        """``settle`` brings this process's snapshot up to date after a change."""
        self._db = db
        self._policy = policy
        self._settle = settle
        self._clock = clock

    def list(self, principal: Principal, *, expired: bool = True) -> Sequence[Silence]:
        """Return the silences, the ones that end last first.

        Raises:
            Forbidden: the principal may not read alerts.
        """
        principal.require("alerts:read")
        now = self._clock.now()
        return [one for one in self._policy.every_silence() if expired or now < one.ends_at]

    def get(self, principal: Principal, silence_id: str) -> Silence:
        """Return a silence.

        Raises:
            Forbidden: the principal may not read alerts.
            NoSuchSilence: there is none.
        """
        principal.require("alerts:read")
        found = self._policy.silence(silence_id)
        if found is None:
            raise NoSuchSilence(f"no silence has the id '{silence_id[:64]}'")
        return found

    def state(self, silence: Silence) -> str:
        """Return ``pending``, ``active`` or ``expired``."""
        return state_of(silence, self._clock.now())

    async def put(
        self,
        principal: Principal,
        *,
        matchers: Sequence[Matcher],
        ends_at: datetime,
        reason: str,
        starts_at: datetime | None = None,
        created_by: str | None = None,
        silence_id: str | None = None,
    ) -> Silence:
        """Make a silence, or change the one of ``silence_id``; what began in the past begins now.

        Raises:
            Forbidden: the principal may not write alerts.
            Invalid: it ends before it begins, or has ended, or there are too many.
            BadMatcher: a matcher cannot be used, or they fit everything.
            NoSuchSilence, SilenceEnded: the one to change.
        """
        principal.require("alerts:write")
        check_matchers(matchers)
        now = self._clock.now()
        before = None if silence_id is None else self.get(principal, silence_id)
        if before is not None and state_of(before, now) == "expired":
            raise SilenceEnded(f"the silence {before.id} is over")
        begins = max(now, starts_at or now)
        if before is not None and before.starts_at <= now and (starts_at is None or starts_at <= now):
            begins = before.starts_at
        if ends_at <= max(now, begins):
            raise Invalid("a silence ends after it begins, and not in the past")
        if before is None and len(self.list(principal, expired=False)) >= _MOST:
            raise Invalid(f"there are {_MOST} silences at most; end some")
        silence = Silence(
            id=before.id if before is not None else str(uuid.uuid4()),
            matchers=tuple(matchers),
            starts_at=begins,
            ends_at=ends_at,
            created_by=created_by or principal.id,
            reason=reason,
            updated_at=now,
        )
        await self._db.run(self._policy.silences.put, silence.id, silence, actor=principal.id, reason=reason or None)
        await self._settle()
        return silence

    async def end(self, principal: Principal, silence_id: str) -> Silence:
        """End a silence now.

        Raises:
            Forbidden: the principal may not write alerts.
            NoSuchSilence, SilenceEnded: there is nothing to end.
        """
        principal.require("alerts:write")
        now = self._clock.now()
        before = self.get(principal, silence_id)
        if state_of(before, now) == "expired":
            raise SilenceEnded(f"the silence {before.id} is over")
        ended = msgspec.structs.replace(before, starts_at=min(before.starts_at, now), ends_at=now, updated_at=now)
        await self._db.run(self._policy.silences.put, ended.id, ended, actor=principal.id)
        await self._settle()
        return ended

    async def prune(self) -> int:
        """Remove silences that ended long ago; return how many."""
        border = self._clock.now() - KEPT
        old = [one.id for one in self._policy.every_silence() if one.ends_at < border]

        def remove(conn: Connection) -> int:
            there = [key for key in old if self._policy.silences.find(conn, key) is not None]
            ops = [Delete(key) for key in there]
            return len(self._policy.silences.bulk(conn, ops, actor=SYSTEM.id, reason="ended long ago")) if ops else 0

        return await self._db.run(remove) if old else 0
