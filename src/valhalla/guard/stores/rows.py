"""The memory store's rows: what every call touches in ``Row``, what few calls touch in a shared ``Cold``."""

from __future__ import annotations

from threading import Event
from typing import Any

from msgspec import Struct, structs

from valhalla.guard.contracts import RELEASED, SETTLED, Approval, BeginRequest, Effect, Failure, Record, State, Step

FOREVER = float("inf")


class Cold(Struct, frozen=True):
    """What an action declares, and what only held, failed or settled rows have. Shared; a change makes a copy."""

    name: str
    effect: Effect
    keep: bool
    ttl: float
    tombstone: float
    expires_at: float | None = None
    failure: Failure | None = None
    reason: str | None = None
    evidence: str | None = None
    policy: str = ""
    quorum: tuple[Step, ...] = ()
    approvals: tuple[Approval, ...] = ()
    payload: bytes | None = None
    summary: str | None = None
    parent: str | None = None
    correlation: str | None = None
    attempt: str | None = None

    @classmethod
    def of(cls, request: BeginRequest, id_: str) -> Cold:
        """Return what ``request`` declares for the row ``id_``."""
        return cls(
            name=request.name,
            effect=request.effect,
            keep=request.keep,
            ttl=request.ttl,
            tombstone=request.tombstone,
            reason=request.reason,
            policy=request.policy,
            parent=request.parent,
            correlation=request.correlation,
            attempt=None if id_ == request.id else request.id,
        )

    def changed(self, patch: dict[str, Any]) -> Cold:
        """Return a copy with ``patch``."""
        return structs.replace(self, **patch) if patch else self


class Row(Struct, gc=False):
    """One action. A new execution of it is a new ``Row``, so a stale worker changes only what nobody reads any more.

    ``lease_until`` is ``FOREVER`` where the process itself is the lease: what runs in this process has not crashed.
    ``number`` tells the order of the rows that are found by their id; those that went straight through have none.
    The collector does not look at rows: they are many, and none can be part of a cycle.
    """

    id: str
    key: str | None
    fingerprint: bytes
    principal: str
    created_at: float
    cold: Cold
    generation: int = 1
    updated_at: float = 0.0
    version: int = 1
    state: State = "executing"
    lease_until: float = FOREVER
    value: Any = None
    waiter: Event | None = None
    replaced: bool = False
    number: int = 0

    @property
    def value_until(self) -> float | None:
        """When the result is dropped."""
        return self.updated_at + self.cold.ttl if self.state in SETTLED else None

    @property
    def keep_until(self) -> float | None:
        """When the row is dropped; ``None`` while somebody may still have to act on it."""
        if self.state in SETTLED:
            return self.updated_at + self.cold.ttl + self.cold.tombstone
        return self.updated_at + self.cold.ttl if self.state == "denied" or self.state in RELEASED else None

    def gone(self, now: float) -> bool:
        """Whether the row no longer answers its key."""
        until = self.keep_until
        return until is not None and until <= now

    def record(self, offset: float, now: float) -> Record:
        """Return the contract's copy at ``now``; ``offset`` turns the store's ticks into seconds since the epoch."""
        cold = self.cold
        until = self.value_until

        def at(tick: float | None) -> float | None:
            return None if tick is None or tick == FOREVER else tick + offset

        return Record(
            id=self.id,
            name=cold.name,
            effect=cold.effect,
            state=self.state,
            key=self.key,
            fingerprint=self.fingerprint,
            generation=self.generation,
            version=self.version,
            principal=self.principal,
            created_at=self.created_at + offset,
            updated_at=(self.updated_at or self.created_at) + offset,
            lease_until=at(self.lease_until) if self.state == "executing" else None,
            expires_at=at(cold.expires_at),
            value_until=at(until),
            keep_until=at(self.keep_until),
            keep=cold.keep,
            value=None if until is not None and until <= now else self.value,
            failure=cold.failure,
            reason=cold.reason,
            evidence=cold.evidence,
            policy=cold.policy,
            quorum=cold.quorum,
            approvals=cold.approvals,
            payload=cold.payload,
            summary=cold.summary,
            parent=cold.parent,
            correlation=cold.correlation,
            attempt=cold.attempt,
        )
