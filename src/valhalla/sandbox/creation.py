"""Making a sandbox: claim the name and the owner's place, provision every slice, and only then call it running."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.engine import Connection

from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import IllegalTransition, NotFound, Problem, Unavailable
from valhalla.kit import lifecycle
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.faults import crashpoint
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.spans import span
from valhalla.sandbox import access, store
from valhalla.sandbox.admission import Admission, fingerprint
from valhalla.sandbox.backends import Backends
from valhalla.sandbox.contracts import LIFECYCLE, LIVE, Limits, Sandbox, Spec
from valhalla.sandbox.errors import CreateFailed, InProgress
from valhalla.sandbox.filling import is_silent, provision
from valhalla.sandbox.pool.checkout import Checkout
from valhalla.sandbox.slices.contracts import DEFAULT_SLICES
from valhalla.sandbox.tables import sandboxes
from valhalla.sandbox.teardown import Teardown, Timing, emit, lease_end
from valhalla.sandbox.templates import Templates, is_pooled

_log = get_logger("sandbox.creation")


@dataclass(frozen=True, slots=True)
class Created:
    """A sandbox with its credentials. ``replayed``: an earlier request with the same key made it."""

    sandbox: Sandbox
    connection: Mapping[str, Any] | None
    replayed: bool
    milliseconds: float


class Creation:
    """The saga of a new sandbox."""

    def __init__(
        self,
        db: Database,
        backends: Backends,
        ledger: Ledger,
        cell: CellKey,
        teardown: Teardown,
        *,
        templates: Templates,
        limits: Limits,
        clock: Clock,
        timing: Timing,
        checkout: Checkout | None = None,
    ) -> None:
        self._checkout = checkout
        self._db = db
        self._backends = backends
        self._ledger = ledger
        self._admission = Admission(db, backends.postgres, ledger, cell, limits=limits, clock=clock, timing=timing)
        self._teardown = teardown
        self._templates = templates
        self._clock = clock
        self._timing = timing

    async def run(self, principal: Principal, spec: Spec, *, key: str | None) -> Created:
        """See ``SandboxService.create``."""
        with span("sandbox.create", template=spec.template):
            return await self._make(principal, spec, key)

    async def _make(self, principal: Principal, spec: Spec, key: str | None) -> Created:
        started = time.monotonic()
        filling = self._templates.at_once(spec.template, spec.slices) or await asyncio.to_thread(
            self._templates.filling, spec.template, spec.slices
        )
        if "valkey" in spec.slices:
            # a restarted server has forgotten its users and takes no keys yet: no answer promises what does not work
            await self._backends.valkey.await_writable()
        template = filling.postgres
        if self._checkout is not None and spec.slices == DEFAULT_SLICES and is_pooled(template):
            pooled = await self._checkout.run(principal, spec, template, key=key, fingerprint=fingerprint(spec))
            if pooled is not None:
                if not self._backends.valkey.watch.sure:
                    # restarted between the check and the claim; what is claimed stays so
                    with contextlib.suppress(Unavailable):
                        await self._backends.valkey.await_writable()
                return Created(pooled, access.connection(pooled, self._backends), False, _since(started))
        earlier, sandbox = await self._admission.claim(principal, spec, filling.isolation, key)
        if earlier is not None:
            return self._replay(earlier, started)
        crashpoint("create.claimed")
        away: set[str] = set()
        try:
            keeper = asyncio.create_task(self._keep_lease(sandbox))
            try:
                with contextlib.nullcontext() if self._checkout is None else self._checkout.in_line():
                    await provision(sandbox, filling, self._backends, away)
            finally:
                keeper.cancel()
            crashpoint("create.provisioned")
            running = await self._db.run(self._run, principal, sandbox)
        except BaseException as error:
            await self._abandon(principal, sandbox, error, away)
            if isinstance(error, (IllegalTransition, NotFound)):
                raise CreateFailed("the sandbox was removed while it was being made") from error
            if isinstance(error, Problem) or not isinstance(error, Exception):
                raise
            _log.exception("sandbox creation failed", sandbox_id=sandbox.id)
            raise CreateFailed(f"{type(error).__name__} while the sandbox was being made") from error
        crashpoint("create.running")
        return Created(running, access.connection(running, self._backends), False, _since(started))

    async def plan(self, principal: Principal, spec: Spec) -> Sandbox:
        """See ``SandboxService.plan``."""
        filling = await asyncio.to_thread(self._templates.filling, spec.template, spec.slices)
        return await self._db.run(self._admission.checked, principal, spec, filling.isolation)

    async def _keep_lease(self, sandbox: Sandbox) -> None:
        """A template may take minutes, and a server that has just started seconds: keep the reaper away meanwhile."""
        while True:
            await asyncio.sleep(self._timing.lease.total_seconds() / 3)
            until = lease_end(self._clock, self._timing)
            # a registry that is away for a moment must not end the renewals
            with contextlib.suppress(Unavailable):
                await self._db.run(store.renew_lease, sandbox.id, status="creating", until=until)

    def _run(self, conn: Connection, principal: Principal, sandbox: Sandbox) -> Sandbox:
        lifecycle.take(
            conn,
            LIFECYCLE,
            sandboxes,
            key=sandbox.id,
            to="running",
            values={"lease_until": None},
            ledger=self._ledger,
            actor=principal.id,
            kind="sandbox",
        )
        emit(conn, sandbox, "sandbox.running")
        return replace(sandbox, status="running")

    async def _abandon(self, principal: Principal, sandbox: Sandbox, error: BaseException, away: set[str]) -> None:
        """Leave nothing behind where a backend answers, and wait nowhere a second time.

        If the registry is away now, the lease runs out and the reaper does the same.
        """
        reason = error.detail if isinstance(error, Problem) else type(error).__name__
        if isinstance(error, Unavailable) and is_silent(error):
            away = away | {error.backend}
        try:
            await self._teardown.abandon(sandbox, actor=principal.id, error=reason, away=away)
        except (IllegalTransition, NotFound):
            # somebody else was faster and finishes it
            return
        except Exception:  # noqa: BLE001 - the first error is the one to report; the lease hands the rest to the reaper
            _log.exception("clean-up after a failed creation is left to the reaper", sandbox_id=sandbox.id)

    def _replay(self, earlier: Sandbox, started: float) -> Created:
        if earlier.status in ("pending", "creating"):
            raise InProgress(retry_after=1.0, sandbox_id=earlier.id)
        usable = earlier.status == "running" and earlier.status in LIVE
        connection = access.connection(earlier, self._backends) if usable else None
        return Created(earlier, connection, True, _since(started))


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
