"""Cut all access to a sandbox and keep what is in it; let its owner in again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.engine import Connection

from valhalla.kernel.clock import Clock, isoformat
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kernel.problems import Conflict, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.sandbox.backends import Backends
from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.errors import NotRunning
from valhalla.sandbox.quarantine import store
from valhalla.sandbox.register import Register
from valhalla.sandbox.teardown import emit

# an open handle of a file cannot be revoked, and a cut there removes the file
_KEPT_OPEN = ("sqlite",)


class QuarantineService:
    """First the mark, then the cut, so that nobody lets in again what is being shut; the other way round to end it."""

    def __init__(self, db: Database, ledger: Ledger, backends: Backends, register: Register, *, clock: Clock) -> None:
        self._db = db
        self._ledger = ledger
        self._backends = backends
        self._register = register
        self._clock = clock

    async def find(self, reference: str) -> Sandbox:
        """Return a sandbox, whoever's it is.

        Raises:
            SandboxNotFound, NotRunning: there is none, or it does not run.
        """
        found = await self._register.get(SYSTEM, reference)
        if found.status != "running":
            raise NotRunning(f"the sandbox is {found.status}", sandbox_status=found.status)
        return found

    async def begin(self, principal: Principal, reference: str, reason: str) -> Sandbox:
        """Shut a sandbox: no login works and no connection lives when this returns. Its time stands still.

        Repeating it repeats the cut.

        Raises:
            SandboxNotFound, NotRunning: there is none, or it does not run.
            Unavailable: a backend is away; what could be cut is cut, and the mark stands: repeat it.
        """
        seen = await self.find(reference)

        def mark(conn: Connection) -> Sandbox:
            # what began it counts: the time that it was shut is given back
            marked = store.begin(conn, seen.id, seen.quarantined_at or self._clock.now())
            if marked is None:
                raise NotRunning("the sandbox ended in the meantime")
            self._note(conn, principal, marked, "quarantined", reason)
            return marked

        marked = await self._db.run(mark)
        await self._cut(marked)
        return marked

    async def end(self, principal: Principal, reference: str, reason: str) -> Sandbox:
        """Let a sandbox's owner in again, with the time that was left when it was shut.

        Raises:
            SandboxNotFound, NotRunning: there is none, or it does not run.
            Unavailable: a backend is away; it stays shut: repeat it.
            Conflict: somebody shut it again meanwhile.
        """
        seen = await self.find(reference)
        if seen.quarantined_at is None:
            return seen
        expires_at = self.end_of(seen)
        failures = await self._backends.each(
            "admit", seen.names, lambda part: part.admit(seen.names, expires_at=expires_at), without=_KEPT_OPEN
        )

        def unmark(conn: Connection) -> bool:
            if failures or not store.end(conn, seen, expires_at):
                return False
            self._note(conn, principal, seen, "released", reason)
            return True

        if not await self._db.run(unmark):
            await self._cut(seen)
            for failure in failures.values():
                raise failure
            raise Conflict("somebody shut the sandbox again, or ended it")
        return await self._register.reread(seen.id)

    def end_of(self, seen: Sandbox) -> datetime:
        """Return when a sandbox would end that is let go now."""
        shut = self._clock.now() - (seen.quarantined_at or self._clock.now())
        return seen.expires_at + shut

    async def recut(self, before: datetime) -> int:
        """Cut again what was marked before an instant: who marked it may have died before the cut; return how many."""
        found = await self._db.read(store.since, before)
        for sandbox in found:
            await self._cut(sandbox)
        return len(found)

    async def _cut(self, sandbox: Sandbox) -> None:
        failures = await self._backends.each(
            "quarantine", sandbox.names, lambda part: part.cut(sandbox.names), without=_KEPT_OPEN
        )
        if failures:
            raise Unavailable(
                next(iter(failures)),
                f"the sandbox is shut, but access could not be cut in {', '.join(sorted(failures))}; repeat it",
                sandbox_id=sandbox.id,
            )

    def _note(self, conn: Connection, principal: Principal, sandbox: Sandbox, action: str, reason: str) -> None:
        self._ledger.append(
            conn, actor=principal.id, action=action, kind="sandbox", subject=sandbox.id, details={"reason": reason}
        )
        emit(conn, sandbox, f"sandbox.{action}", reason=reason, at=isoformat(self._clock.now()))
