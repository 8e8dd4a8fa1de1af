"""The use cases of sandboxes: what a principal may ask of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from valhalla.kernel.clock import Clock, isoformat
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Forbidden, IllegalTransition, Problem
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.load import Load
from valhalla.kit.log import get_logger
from valhalla.kit.writing import upkeep
from valhalla.sandbox import rules, store
from valhalla.sandbox.backends import Backends
from valhalla.sandbox.contracts import LIVE, Extension, Limits, Sandbox, Spec
from valhalla.sandbox.creation import Created, Creation
from valhalla.sandbox.errors import CreateFailed
from valhalla.sandbox.filling import refill
from valhalla.sandbox.linking import Linking
from valhalla.sandbox.pool import Checkout, Claims, Endings, Filler, PoolSettings
from valhalla.sandbox.teardown import Teardown, Timing, emit
from valhalla.sandbox.templates import Templates

_log = get_logger("sandbox.service")


class SandboxService(Linking):
    """Everything the API and the SDK do with sandboxes. One per control plane process."""

    def __init__(
        self,
        db: Database,
        backends: Backends,
        ledger: Ledger,
        cell: CellKey,
        *,
        templates: Templates,
        limits: Limits | None = None,
        timing: Timing | None = None,
        clock: Clock | None = None,
        pool: PoolSettings | None = None,
        load: Load | None = None,
    ) -> None:
        super().__init__(db, backends, ledger, clock or Clock())
        self.limits = limits or Limits()
        self.templates = templates
        self.teardown = Teardown(db, backends, ledger, self._clock, timing)
        self.filler = Filler(
            db,
            backends,
            self.teardown,
            templates,
            cell=cell.cell,
            settings=pool or PoolSettings(size=0),
            max_ttl=self.limits.max_ttl,
            lease=(timing or Timing()).lease,
            clock=self._clock,
        )
        claims = Claims(backends.postgres.pools, owner_limit=self.limits.per_owner)
        self._load = load or Load()
        self._endings = Endings(backends.postgres.pools, self._load)
        checkout = Checkout(
            self.filler, claims, self._endings, ledger, clock=self._clock, owner_limit=self.limits.per_owner
        )
        self._creation = Creation(
            db,
            backends,
            ledger,
            cell,
            self.teardown,
            templates=templates,
            limits=self.limits,
            clock=self._clock,
            timing=timing or Timing(),
            checkout=checkout if self.filler.enabled else None,
        )
        self._background: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._ending: dict[str, asyncio.Task[Sandbox]] = {}

    async def create(self, principal: Principal, spec: Spec, *, key: str | None = None) -> Created:
        """Make a sandbox, whole or not at all; ``key`` makes a repeated request answer with the first one's sandbox.

        Raises:
            Forbidden: the owner is somebody else.
            NameTaken, OwnerLimit, RouteTaken, TemplateUnknown, TemplateFailed: the rules refuse it.
            ClaimDenied, ClaimUnproven: a route may not be claimed, or nobody says so.
            KeyReuse, InProgress: the idempotency key was used for something else, or its first use still runs.
            Unavailable, CreateFailed: a backend failed; nothing is left.
        """
        self._may_own(principal, spec.owner)
        self._db.require_writable()
        if spec.routes:
            await self.proof.check(principal, None, spec.owner, spec.routes)
        task = self._spawn(self._create(principal, spec, key))
        # a client that hangs up must not leave a half-made sandbox: the creation ends on its own terms
        with self._load.caller():
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if not (self._stopping and task.cancelled()):
                    raise
                raise CreateFailed("the control plane was stopped while the sandbox was being made") from None

    async def _create(self, principal: Principal, spec: Spec, key: str | None) -> Created:
        created = await self._creation.run(principal, spec, key=key)
        if created.sandbox.routes and not created.replayed:
            try:
                await self.routing.linked(created.sandbox, created.sandbox.routes)
            except BaseException:
                # whole or not at all: a sandbox without its events would be taken for one that has none
                await self.destroy(principal, created.sandbox.id)
                raise
        return created

    async def plan(self, principal: Principal, spec: Spec) -> Sandbox:
        """Return what ``create`` would make now, without making it.

        Raises:
            the same problems as ``create``, as far as they can be told beforehand.
        """
        self._may_own(principal, spec.owner)
        return await self._creation.plan(principal, spec)

    async def destroy(self, principal: Principal, reference: str, *, wait: float = 0.0) -> Sandbox:
        """Cut access now and drop in the background; waits up to ``wait`` seconds for the end. Repeating it is fine.

        Raises:
            SandboxNotFound: there is none for this principal.
            Unavailable: a backend is away; access elsewhere is cut and the reaper finishes.
        """
        sandbox = await self.get(principal, reference)
        ending = self._ending.get(sandbox.id)
        if ending is None and sandbox.status in LIVE:
            self._db.require_writable()
            ending = self._ending[sandbox.id] = self._spawn(self._end(principal, sandbox))
        if ending is not None:
            # a client that hangs up must not leave the cut half done, and one that repeats waits for the same cut
            sandbox = await asyncio.shield(ending)
        deadline = self._clock.monotonic() + wait
        while sandbox.status != "destroyed" and self._clock.monotonic() < deadline:
            await asyncio.sleep(0.01)
            sandbox = await self.reread(sandbox.id)
        return sandbox

    async def _end(self, principal: Principal, seen: Sandbox) -> Sandbox:
        try:
            marked = await self.teardown.begin(seen.id, actor=principal.id, reason="requested", seen=seen)
        except IllegalTransition:
            # another process was faster and finishes it
            return await self.reread(seen.id)
        finally:
            del self._ending[seen.id]
        self._spawn(self._drop(principal, marked))
        return marked

    async def _drop(self, principal: Principal, sandbox: Sandbox) -> None:
        # access is cut: the answer goes before the sweeping
        await asyncio.sleep(0.005)
        try:
            await self.teardown.finish(sandbox, actor=principal.id)
        except Problem as problem:
            _log.warning("the rest of a sandbox is left to the reaper", sandbox_id=sandbox.id, error=problem.detail)

    async def extend(self, principal: Principal, reference: str, ttl: str | float) -> Extension:
        """Move the end by ``ttl``, at most to the maximum lifetime from creation.

        Raises:
            Invalid: the TTL is none.
            NotRunning: the sandbox is not running, or its time is already over.
        """
        duration = rules.parse_ttl(ttl)
        while True:
            sandbox = await self.get(principal, reference)
            self.must_run(sandbox)
            expires_at, capped = rules.extended(sandbox.created_at, sandbox.expires_at, duration, self.limits)
            # first the credentials, then the registry: a crash in between leaves a login that the reaper still cuts
            for part in self.backends:
                await part.extend(sandbox.names, expires_at=expires_at)
            # the loser of a race counts from the winner's end, so that both get what they asked for
            if await self._db.run(self._record_extension, principal, sandbox, expires_at, capped=capped):
                # whoever altered the login in between, it ends with the registry's word
                await self._endings.now(sandbox.id)
                if sandbox.routes:
                    await self.routing.linked(replace(sandbox, expires_at=expires_at), sandbox.routes)
                return Extension(await self.reread(sandbox.id), capped, sandbox.created_at + self.limits.max_ttl)

    def _record_extension(
        self, conn: Connection, principal: Principal, sandbox: Sandbox, expires_at: datetime, *, capped: bool
    ) -> bool:
        if not store.set_expiry(conn, sandbox.id, expires_at, before=sandbox.expires_at):
            return False
        details = {"from": isoformat(sandbox.expires_at), "to": isoformat(expires_at), "capped": capped}
        self._note(conn, principal, sandbox, "ttl_extended", details)
        emit(conn, sandbox, "sandbox.ttl_extended", expires_at=isoformat(expires_at))
        return True

    async def reset(self, principal: Principal, reference: str) -> Sandbox:
        """Bring a running sandbox back to its template: same id, name, credentials and end, fresh contents.

        Live Postgres sessions are ended. When it fails half-way, repeating it is safe.

        Raises:
            NotRunning: the sandbox is not running.
            TemplateFailed: the template's own SQL or command failed; the sandbox is empty.
            Unavailable: a backend is away; the contents may be half removed.
        """
        sandbox = await self.get(principal, reference)
        self.must_run(sandbox)
        filling = await asyncio.to_thread(self.templates.filling, sandbox.template, sandbox.names.slices)
        await self._db.run(self._note, principal, sandbox, "reset", {"template": sandbox.template})
        failures = await self.backends.each("reset", sandbox.names, lambda part: part.empty(sandbox.names))
        for failure in failures.values():
            raise failure
        await refill(sandbox, filling, self.backends, expires_at=sandbox.expires_at)
        return sandbox

    async def close(self, *, patience: float = 2.0) -> None:
        """Wait for creations and teardowns under way; what takes longer than ``patience`` seconds is called off.

        A creation that is called off (its template's command may run for minutes) removes what it has made; what does
        not end then either is left to the reaper of the next start.
        """
        self._stopping = True
        self._spawn(self._endings.settle())
        for seconds in (patience, 5.0):
            if not self._background:
                return
            _, late = await asyncio.wait(self._background, timeout=seconds)
            for task in late:
                task.cancel()

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        # what was let in ends on its own terms, also if writes are closed meanwhile
        with upkeep():
            task: asyncio.Task[Any] = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        # its caller may have gone; asyncio would report the error as one that nobody looked at
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def _may_own(self, principal: Principal, owner: str) -> None:
        if not principal.is_admin and owner != principal.owner:
            raise Forbidden(f"this key makes sandboxes for '{principal.owner}' only", owner=principal.owner)
