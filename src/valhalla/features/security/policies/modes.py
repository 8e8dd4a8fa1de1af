"""The security mode: what holds in this process, and who changes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.features.security.policies import rules
from valhalla.features.security.policies.contracts import Mode, ModeState, Policy, Standing
from valhalla.kernel.clock import Clock, isoformat
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Unavailable
from valhalla.kit.changes import Feed, Snapshot
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit_many
from valhalla.kit.registry import Change, Registry
from valhalla.kit.writing import upkeep

REGISTRY: Final = "security_mode"
KEY: Final = "current"
"""The one record."""
WRITE: Final = "policies:write"


class Modes:
    """The mode follows the feed in every process, and falls back by the clock in each of them alone."""

    def __init__(self, db: Database, ledger: Ledger, feed: Feed, *, clock: Clock) -> None:
        """Register the registry and follow it."""
        self.registry: Registry[ModeState] = Registry(REGISTRY, ModeState, ledger)
        feed.add(self.registry)
        self._view = feed.view(REGISTRY, _stated)
        self._db, self._ledger, self._feed, self._clock = db, ledger, feed, clock

    @property
    def mode(self) -> Mode:
        """The mode that holds now; while it is normal that costs one look."""
        state = self._view.value
        return "normal" if state.mode == "normal" else rules.standing(state, self._clock.now()).mode

    def now(self) -> Standing:
        """Return what holds now."""
        return rules.standing(self._view.value, self._clock.now())

    @property
    def is_over(self) -> bool:
        """Whether a raised mode has run out and nobody has said so yet."""
        return self._view.value.mode != "normal" and self.now().mode == "normal"

    async def set(
        self,
        principal: Principal,
        mode: Mode,
        reason: str,
        *,
        lasting: timedelta | None = None,
        check: Callable[[int | None], None] = lambda _: None,
        dry_run: bool = False,
    ) -> Change:
        """Set the mode; a raised one falls back after ``lasting``. ``check`` is told the version that is there.

        Raises:
            Forbidden: the principal may not.
            BadMode: a raised mode lasts from a minute to a week.
            PreconditionFailed: somebody else has set it since it was read.
        """
        principal.require(WRITE)
        state = rules.set_by_person(mode, lasting, self._clock.now(), reason, principal)

        def work(conn: Connection) -> Change:
            if not dry_run:
                self.registry.lock(conn)
            before = self.registry.find(conn, KEY)
            check(None if before is None else before.version)
            change = self.registry.put(conn, KEY, state, actor=principal.id, reason=reason, dry_run=dry_run)
            if not dry_run:
                self._tell(conn, ModeState() if before is None else before.value, state)
            return change

        return await self._db.run(work)

    async def raise_for(self, policy: Policy, what: str) -> bool:
        """Raise the mode as a policy wants; return whether that changed anything."""
        until = self._clock.now() + timedelta(seconds=policy.duration)
        reason = f"policy '{policy.name}': {what}"[:500]
        actor = f"policy:{policy.name}"
        return await self._change(
            lambda state: rules.raised(state, policy.mode, until, self._clock.now(), reason, actor)
        )

    async def fall_back(self) -> bool:
        """Write down that a raised mode has run out; return whether it was this process that did."""

        def over(state: ModeState) -> ModeState | None:
            now = self._clock.now()
            if state.mode == "normal" or rules.standing(state, now).mode != "normal":
                return None
            return ModeState("normal", f"'{state.mode}' has run out", "system", now, None)

        return await self._change(over)

    async def settle(self) -> None:
        """Bring this process up to date; without the database it catches up by itself."""
        with contextlib.suppress(Unavailable):
            await self._feed.refresh()

    async def _change(self, after: Callable[[ModeState], ModeState | None]) -> bool:
        def work(conn: Connection) -> bool:
            # what is stored decides, and processes take turns: a thousand requests raise it once
            self.registry.lock(conn)
            record = self.registry.find(conn, KEY)
            before = ModeState() if record is None else record.value
            state = after(before)
            if state is None:
                return False
            self.registry.put(conn, KEY, state, actor=state.actor, reason=state.reason)
            self._tell(conn, before, state)
            return True

        with upkeep():
            changed = await self._db.run(work)
        if changed:
            await self.settle()
        return changed

    def _tell(self, conn: Connection, before: ModeState, after: ModeState) -> None:
        previous = rules.standing(before, self._clock.now()).mode if after.actor != "system" else before.mode
        data: dict[str, Any] = {
            "previous": previous,
            "mode": after.mode,
            "reason": after.reason,
            "actor": after.actor,
            "until": None if after.until is None else isoformat(after.until),
        }
        if previous != after.mode:
            # one that is lowered is over before the next begins
            steps = ["normal", after.mode] if (previous, after.mode) == ("lockdown", "elevated") else [after.mode]
            emit_many(conn, [{"subject": "policy.mode", "type": f"security.{step}", "data": data} for step in steps])
        self._ledger.append(
            conn, actor=after.actor, action="security.mode_changed", kind="security", subject="mode", details=data
        )


def _stated(snapshot: Snapshot[ModeState]) -> ModeState:
    record = snapshot.records.get(KEY)
    return ModeState() if record is None else record.value
