"""Creating a sandbox from the pool: compose everything that belongs to it, and claim it with one commit."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final

from valhalla.kernel.clock import Clock, isoformat
from valhalla.kernel.principal import Principal
from valhalla.kit import outbox
from valhalla.kit.ledger import Ledger
from valhalla.sandbox import refusals, rules
from valhalla.sandbox.contracts import Sandbox, Spec
from valhalla.sandbox.pool.claims import Claim, Claims, Outcome
from valhalla.sandbox.pool.endings import Endings
from valhalla.sandbox.pool.filler import Filler
from valhalla.sandbox.pool.stock import Slot
from valhalla.sandbox.templates import Poolable

_ATTEMPTS: Final = 5


class Checkout:
    """Turns a reserved slot into somebody's running sandbox."""

    def __init__(
        self, filler: Filler, claims: Claims, endings: Endings, ledger: Ledger, *, clock: Clock, owner_limit: int
    ) -> None:
        self._filler = filler
        self._claims = claims
        self._endings = endings
        self._ledger = ledger
        self._clock = clock
        self._limit = owner_limit

    async def run(
        self, principal: Principal, spec: Spec, template: Poolable, *, key: str | None, fingerprint: bytes
    ) -> Sandbox | None:
        """Claim a slot; None means that the caller has to build in line (no slot, or a race that needs a second look).

        Raises:
            OwnerLimit, NameTaken, RouteTaken: the rules refuse it.
            Unavailable: Postgres is away; whether the claim was committed is unknown, and a retry with the same
                idempotency key finds out.
        """
        for _ in range(_ATTEMPTS):
            slot = self._filler.take(template)
            if slot is None:
                return None
            sandbox = self._compose(principal, spec, slot)
            outcome = await self._claims.submit(self._claim(principal, spec, slot, sandbox, key, fingerprint))
            if outcome.verdict == "claimed":
                self._endings.add(sandbox.id)
                return sandbox
            if outcome.verdict != "slot-gone":
                self._filler.stock.give_back(slot)
            if outcome.verdict in ("key-used", "raced"):
                return None
            self._refuse(spec, outcome)
        return None

    def in_line(self) -> AbstractContextManager[None]:
        """Keep the filler out of the way of a creation that builds for itself."""
        return self._filler.in_line()

    def _refuse(self, spec: Spec, outcome: Outcome) -> None:
        """Raise what the rules say; a generated name that is taken, or a lost slot, is tried again."""
        if outcome.verdict == "owner-limit":
            raise refusals.owner_limit(spec.owner, int(outcome.detail or 0), self._limit)
        if outcome.verdict == "route-taken":
            raise refusals.route_taken(outcome.detail or "")
        if outcome.verdict == "name-taken" and spec.name is not None:
            raise refusals.name_taken(spec.name)

    def _compose(self, principal: Principal, spec: Spec, slot: Slot) -> Sandbox:
        now = self._clock.now()
        return Sandbox(
            id=slot.names.id,
            name=spec.name or rules.generated_name(spec.owner, secrets.choice),
            owner=spec.owner,
            status="running",
            template=spec.template,
            description=spec.description,
            tags=spec.tags,
            metadata=spec.metadata,
            routes=rules.linked(spec.routes, now),
            names=slot.names,
            created_by=principal.id,
            created_at=now,
            expires_at=now + spec.ttl,
            destroyed_at=None,
            last_activity_at=None,
            last_error=None,
        )

    def _claim(
        self, principal: Principal, spec: Spec, slot: Slot, sandbox: Sandbox, key: str | None, fingerprint: bytes
    ) -> Claim:
        return Claim(
            slot=slot,
            process=self._filler.process,
            name=sandbox.name,
            spec=spec,
            created_by=principal.id,
            created_at=sandbox.created_at,
            expires_at=sandbox.expires_at,
            key=key,
            fingerprint=fingerprint,
            ledger=[self._entry(principal, sandbox, action, details) for action, details in _story(sandbox)],
            events=[self._event(sandbox, "sandbox.created"), self._event(sandbox, "sandbox.running")],
        )

    def _entry(
        self, principal: Principal, sandbox: Sandbox, action: str, details: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        return self._ledger.compose(principal.id, action, "sandbox", sandbox.id, details)

    def _event(self, sandbox: Sandbox, kind: str) -> Mapping[str, Any]:
        data = {"id": sandbox.id, "name": sandbox.name, "owner": sandbox.owner}
        item: dict[str, Any] = {"subject": f"sandbox.{sandbox.id}", "type": kind, "data": data}
        return outbox.compose(item, self._now())

    def _now(self) -> datetime:
        return self._clock.now()


def _story(sandbox: Sandbox) -> list[tuple[str, Mapping[str, Any]]]:
    """Return what the ledger says of a creation; the same as without a pool, but for where it came from."""
    created = {
        "name": sandbox.name,
        "owner": sandbox.owner,
        "template": sandbox.template,
        "expires_at": isoformat(sandbox.expires_at),
    }
    return [
        ("created", created),
        *(("route_linked", {"route": str(route)}) for route in sandbox.routes),
        ("status_changed", {"from": "pending", "to": "running"}),
    ]
