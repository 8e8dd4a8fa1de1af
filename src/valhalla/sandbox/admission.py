"""Letting a new sandbox in: the name, the owner's place, the routes and the idempotency key, in one transaction."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.engine import Connection

from valhalla.kernel.clock import Clock, isoformat
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import Principal
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.json import canonical
from valhalla.kit.ledger import Ledger
from valhalla.sandbox import refusals, rules, store
from valhalla.sandbox.contracts import Limits, Sandbox, Spec
from valhalla.sandbox.errors import KeyReuse
from valhalla.sandbox.slices.contracts import DEFAULT_SLICES, Isolation, Names
from valhalla.sandbox.slices.postgres import PostgresSlice
from valhalla.sandbox.teardown import Timing, emit, lease_end

_NAME_ATTEMPTS: Final = 20


class Admission:
    """Decides about a creation and writes its row; ``creating`` until the slices are made."""

    def __init__(
        self,
        db: Database,
        postgres: PostgresSlice,
        ledger: Ledger,
        cell: CellKey,
        *,
        limits: Limits,
        clock: Clock,
        timing: Timing,
    ) -> None:
        self._db = db
        self._postgres = postgres
        self._ledger = ledger
        self._cell = cell
        self._limits = limits
        self._clock = clock
        self._timing = timing

    async def claim(
        self, principal: Principal, spec: Spec, isolation: Isolation, key: str | None
    ) -> tuple[Sandbox | None, Sandbox]:
        """Insert the row, or find what the key has made; the loser of a race looks again."""
        for attempt in range(_NAME_ATTEMPTS):
            try:
                return await self._db.run(self._insert, principal, spec, isolation, key)
            except sqlalchemy.exc.IntegrityError as error:
                constraint = str(error.orig)
                if "uq_sandboxes_live_name" in constraint and spec.name is not None:
                    raise refusals.name_taken(spec.name) from error
                known = ("uq_sandboxes_live_name", "uq_sandboxes_idempotency")
                if attempt == _NAME_ATTEMPTS - 1 or not any(name in constraint for name in known):
                    raise
        raise AssertionError("the loop returns or raises")

    def _insert(
        self, conn: Connection, principal: Principal, spec: Spec, isolation: Isolation, key: str | None
    ) -> tuple[Sandbox | None, Sandbox]:
        used_for = fingerprint(spec)
        if key is not None:
            # one request per key at a time, so that the second finds the first
            conn.execute(
                sa.select(
                    sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"valhalla.key:{principal.id}:{key}", 0))
                )
            )
            claim = store.find_claim(conn, principal.id, key)
            if claim is not None:
                if claim.fingerprint != used_for:
                    raise KeyReuse
                return claim.sandbox, claim.sandbox
        sandbox = self.checked(conn, principal, spec, isolation)
        store.insert(conn, sandbox, lease_until=lease_end(self._clock, self._timing), key=key, fingerprint=used_for)
        details = {"name": sandbox.name, "owner": sandbox.owner, "template": sandbox.template}
        details["expires_at"] = isoformat(sandbox.expires_at)
        self._note(conn, principal, sandbox, "created", details)
        for route in sandbox.routes:
            if store.link(conn, sandbox.id, route, at=sandbox.created_at) != sandbox.id:
                raise refusals.route_taken(str(route))
            self._note(conn, principal, sandbox, "route_linked", {"route": str(route)})
        emit(conn, sandbox, "sandbox.created")
        return None, sandbox

    def checked(self, conn: Connection, principal: Principal, spec: Spec, isolation: Isolation) -> Sandbox:
        """Decide under the owner's lock whether the owner may have one more, and what it is called."""
        live = store.lock_owner(conn, spec.owner)
        if live >= self._limits.per_owner:
            raise refusals.owner_limit(spec.owner, live, self._limits.per_owner)
        if spec.name is not None and store.name_is_taken(conn, spec.name):
            raise refusals.name_taken(spec.name)
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
            names=self._names(sandbox_id, spec, isolation),
            created_by=principal.id,
            created_at=now,
            expires_at=now + spec.ttl,
            destroyed_at=None,
            last_activity_at=None,
            last_error=None,
        )

    def _names(self, sandbox_id: str, spec: Spec, isolation: Isolation) -> Names:
        if "postgres" not in spec.slices:
            database = ""
        elif isolation == "database":
            database = self._postgres.databases.name_of(sandbox_id)
        else:
            database = self._postgres.arenas.current
        return Names.for_sandbox(sandbox_id, cell=self._cell.cell, database=database, slices=spec.slices)

    def _note(
        self, conn: Connection, principal: Principal, sandbox: Sandbox, action: str, details: dict[str, Any]
    ) -> None:
        self._ledger.append(
            conn, actor=principal.id, action=action, kind="sandbox", subject=sandbox.id, details=details
        )


def fingerprint(spec: Spec) -> bytes:
    """Return what an idempotency key stands for: the same for the same request only."""
    document: dict[str, Any] = {
        "owner": spec.owner,
        "template": spec.template,
        "ttl": spec.ttl.total_seconds(),
        "name": spec.name,
        "description": spec.description,
        "tags": list(spec.tags),
        "metadata": dict(spec.metadata),
        "routes": [[route.kind, route.key] for route in spec.routes],
    }
    if spec.slices != DEFAULT_SLICES:
        # left out otherwise: a key that was used before there was a choice must still match
        document["slices"] = list(spec.slices)
    return hashlib.sha256(canonical(document)).digest()
