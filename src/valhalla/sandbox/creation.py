"""Making a sandbox: claim the name and the owner's place, provision every slice, and only then call it running."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.engine import Connection

from valhalla.kernel.clock import Clock, isoformat
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import IllegalTransition, NotFound, Problem, Unavailable
from valhalla.kit import lifecycle
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database, shortage
from valhalla.kit.faults import crashpoint
from valhalla.kit.json import canonical
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.sandbox import access, rules, store
from valhalla.sandbox.backends import Backends
from valhalla.sandbox.contracts import LIFECYCLE, LIVE, Limits, Route, Sandbox, Spec
from valhalla.sandbox.errors import CreateFailed, InProgress, KeyReuse, NameTaken, OwnerLimit, RouteTaken
from valhalla.sandbox.pool.checkout import Checkout
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.tables import sandboxes
from valhalla.sandbox.teardown import Teardown, Timing, emit, lease_end
from valhalla.sandbox.templates import BuiltIn, Scripts, Template, Templates, seed

_log = get_logger("sandbox.creation")
_NAME_ATTEMPTS = 20


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
        self._cell = cell
        self._teardown = teardown
        self._templates = templates
        self._limits = limits
        self._clock = clock
        self._timing = timing

    async def run(self, principal: Principal, spec: Spec, *, key: str | None) -> Created:
        """See ``SandboxService.create``."""
        started = time.monotonic()
        template = self._templates.built_in(spec.template) or await asyncio.to_thread(
            self._templates.get, spec.template
        )
        # a restarted server has forgotten its users and takes no keys yet: no answer promises what does not work
        await self._backends.valkey.await_writable()
        if self._checkout is not None and isinstance(template, (BuiltIn, Scripts)):
            pooled = await self._checkout.run(principal, spec, template, key=key, fingerprint=_fingerprint(spec))
            if pooled is not None:
                if not self._backends.valkey.watch.sure:
                    # restarted between the check and the claim; what is claimed stays so
                    with contextlib.suppress(Unavailable):
                        await self._backends.valkey.await_writable()
                return Created(pooled, access.connection(pooled, self._backends), False, _since(started))
        earlier, sandbox = await self._claim(principal, spec, key)
        if earlier is not None:
            return self._replay(earlier, started)
        crashpoint("create.claimed")
        away: set[str] = set()
        try:
            keeper = asyncio.create_task(self._keep_lease(sandbox))
            try:
                with contextlib.nullcontext() if self._checkout is None else self._checkout.in_line():
                    await self._provision(sandbox, template, away)
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
        await asyncio.to_thread(self._templates.get, spec.template)
        return await self._db.run(self._checked, principal, spec)

    async def _claim(self, principal: Principal, spec: Spec, key: str | None) -> tuple[Sandbox | None, Sandbox]:
        """Insert the row, or find what the key has made; the loser of a race looks again."""
        for attempt in range(_NAME_ATTEMPTS):
            try:
                return await self._db.run(self._insert, principal, spec, key)
            except sqlalchemy.exc.IntegrityError as error:
                constraint = str(error.orig)
                if "uq_sandboxes_live_name" in constraint and spec.name is not None:
                    raise NameTaken(f"a live sandbox is called '{spec.name}'", name=spec.name) from error
                known = ("uq_sandboxes_live_name", "uq_sandboxes_idempotency")
                if attempt == _NAME_ATTEMPTS - 1 or not any(name in constraint for name in known):
                    raise
        raise AssertionError("the loop returns or raises")

    def _insert(
        self, conn: Connection, principal: Principal, spec: Spec, key: str | None
    ) -> tuple[Sandbox | None, Sandbox]:
        fingerprint = _fingerprint(spec)
        if key is not None:
            # one request per key at a time, so that the second finds the first
            conn.execute(
                sa.select(
                    sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"valhalla.key:{principal.id}:{key}", 0))
                )
            )
            claim = store.find_claim(conn, principal.id, key)
            if claim is not None:
                if claim.fingerprint != fingerprint:
                    raise KeyReuse
                return claim.sandbox, claim.sandbox
        sandbox = self._checked(conn, principal, spec)
        store.insert(conn, sandbox, lease_until=lease_end(self._clock, self._timing), key=key, fingerprint=fingerprint)
        details = {"name": sandbox.name, "owner": sandbox.owner, "template": sandbox.template}
        details["expires_at"] = isoformat(sandbox.expires_at)
        self._note(conn, principal, sandbox, "created", details)
        for route in sandbox.routes:
            if store.link(conn, sandbox.id, route, at=sandbox.created_at) != sandbox.id:
                raise RouteTaken(f"the route {route} belongs to another sandbox", route=str(route))
            self._note(conn, principal, sandbox, "route_linked", {"route": str(route)})
        emit(conn, sandbox, "sandbox.created")
        return None, sandbox

    def _checked(self, conn: Connection, principal: Principal, spec: Spec) -> Sandbox:
        """Decide under the owner's lock whether the owner may have one more, and what it is called."""
        live = store.lock_owner(conn, spec.owner)
        if live >= self._limits.per_owner:
            raise OwnerLimit(
                f"'{spec.owner}' has {live} of {self._limits.per_owner} live sandboxes",
                owner=spec.owner,
                live=live,
                limit=self._limits.per_owner,
            )
        if spec.name is not None and store.name_is_taken(conn, spec.name):
            raise NameTaken(f"a live sandbox is called '{spec.name}'", name=spec.name)
        name = spec.name or rules.generated_name(spec.owner, secrets.choice)
        sandbox_id = new_id()
        now = self._clock.now()
        return Sandbox(
            id=sandbox_id,
            name=name,
            owner=spec.owner,
            status="creating",
            template=spec.template,
            description=spec.description,
            tags=spec.tags,
            metadata=spec.metadata,
            routes=rules.linked(spec.routes, now),
            names=Names.for_sandbox(sandbox_id, cell=self._cell.cell, database=self._backends.postgres.arenas.current),
            created_by=principal.id,
            created_at=now,
            expires_at=now + spec.ttl,
            destroyed_at=None,
            last_activity_at=None,
            last_error=None,
        )

    async def _provision(self, sandbox: Sandbox, template: Template, away: set[str]) -> None:
        """Make every slice and its contents; what does not answer is noted in ``away``."""
        names, expires_at = sandbox.names, sandbox.expires_at
        contents = template.sql if isinstance(template, BuiltIn) else None
        postgres = self._backends.postgres

        failures = await self._backends.each(
            "create",
            lambda part: (
                postgres.provision(names, expires_at=expires_at, seed=contents)
                if part is postgres
                else part.provision(names, expires_at=expires_at)
            ),
        )
        away |= {name for name, error in failures.items() if _is_silent(error)}
        for error in failures.values():
            raise error
        if not isinstance(template, BuiltIn):
            await fill(sandbox, template, self._backends)
            crashpoint("create.seeded")

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
        if isinstance(error, Unavailable) and _is_silent(error):
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

    def _note(
        self, conn: Connection, principal: Principal, sandbox: Sandbox, action: str, details: dict[str, Any]
    ) -> None:
        self._ledger.append(
            conn, actor=principal.id, action=action, kind="sandbox", subject=sandbox.id, details=details
        )


def _is_silent(error: BaseException) -> bool:
    """Say whether a backend cannot be reached; one that only lacks something can be told to clean up."""
    return isinstance(error, Unavailable) and shortage(error) is None


def _fingerprint(spec: Spec) -> bytes:
    def plain(route: Route) -> list[str]:
        return [route.kind, route.key]

    document = {
        "owner": spec.owner,
        "template": spec.template,
        "ttl": spec.ttl.total_seconds(),
        "name": spec.name,
        "description": spec.description,
        "tags": list(spec.tags),
        "metadata": dict(spec.metadata),
        "routes": [plain(route) for route in spec.routes],
    }
    return hashlib.sha256(canonical(document)).digest()


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


async def fill(sandbox: Sandbox, template: Template, backends: Backends) -> None:
    """Run a template in an empty schema, with the sandbox's own rights.

    Raises:
        TemplateFailed: its SQL or command failed.
        Unavailable: Postgres cannot be reached.
    """
    postgres = backends.postgres
    if isinstance(template, BuiltIn):
        await postgres.seed(sandbox.names, template.sql)
        return
    async with access.creds_file(backends, sandbox) as environment:
        await seed(template, login=lambda: postgres.login(sandbox.names), environment=environment)
