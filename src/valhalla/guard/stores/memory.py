"""The memory store: the guard's default. One process, nothing survives it; the same answers as every other store."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from valhalla.guard.codec import MemoryCodec
from valhalla.guard.contracts import (
    OPEN,
    Began,
    BeginRequest,
    BeginResult,
    CasRequest,
    CasResult,
    Page,
    Scan,
    State,
    Take,
    Verdict,
)
from valhalla.guard.journal import Journal, Sink
from valhalla.guard.stores import dedup, swap
from valhalla.guard.stores.rows import Cold, Row
from valhalla.guard.stores.shelf import Shelf, Table

if TYPE_CHECKING:
    from valhalla.guard.governor import Decision

_TAKEN: Final = CasResult("done")


class Limiter(Protocol):
    """What the store needs of a governor."""

    def take(self, resource: str, subject: str = "", cost: int = 1, names: Iterable[str] | None = None) -> Decision: ...

    def refund(self, resource: str, subject: str = "", cost: int = 1, names: Iterable[str] | None = None) -> None: ...


class MemoryStore(Shelf):
    """Rows in dictionaries. The verbs run under one lock; the fused path claims with ``dict.setdefault`` beside it."""

    durable = False
    instant = True

    def __init__(
        self, governor: Limiter, *, clock: Callable[[], float] | None = None, sink: Sink | None = None
    ) -> None:
        """``clock`` returns seconds since the epoch; without it a change of the system's clock is not noticed."""
        self.codec = MemoryCodec()
        self.governor = governor
        self.clock: Callable[[], float] = clock or time.monotonic
        self.offset = 0.0 if clock else time.time() - time.monotonic()
        self.journal = Journal(sink, offset=self.offset)
        self._holds: Counter[str] = Counter()
        super().__init__()

    def begin(self, request: BeginRequest) -> BeginResult:
        """Dedup, policy, limits, claim and ledger row as one step."""
        with self._lock:
            now = self.clock()
            table = self.table(request.name)
            met = None if request.key is None else table.get(request.key)
            answer = dedup.Go(request.id, 1)
            if met is not None:
                answer = dedup.look(request, met, now)
                if isinstance(answer, dedup.Move):
                    self._enter(met, answer.to, now, answer.event)
                    answer = answer.then
                if not isinstance(answer, dedup.Go):
                    return BeginResult(answer.kind, met.record(self.offset, now), answer.retry_after)
            return self._claim(request, table, met, answer, now)

    def _claim(self, request: BeginRequest, table: Table, met: Row | None, go: dedup.Go, now: float) -> BeginResult:
        if request.verdict is Verdict.DENY:
            self._line("denied", now, request.name, go.id, "denied", request, go.generation)
            return BeginResult(Began.DENIED)
        hold = request.hold if request.verdict is Verdict.HOLD else None
        if hold is not None and self._holds[request.principal] >= hold.cap:
            return BeginResult(Began.CAPPED)
        taken = _TAKEN if hold is not None else self._take(request.takes, report=request.report)
        if not taken.done:
            self._line("limited", now, request.name, go.id, "denied", request, go.generation)
            return BeginResult(Began.LIMITED, None, taken.retry_after, taken.limit, taken.policies)
        row = Row(
            go.id, request.key, request.fingerprint, request.principal, now, Cold.of(request, go.id), go.generation
        )
        if hold is not None:
            row.state = "held"
            row.cold = replace(
                row.cold,
                expires_at=now + hold.expires_in,
                quorum=hold.quorum,
                payload=hold.payload,
                summary=hold.summary,
            )
        else:
            row.lease_until = now + request.lease
        if (request.key is not None or request.track) and not self._install(request.key, row, table, met):
            # a fused call claimed or finished the key meanwhile: it is asked again, and what was charged goes back
            self._give_back(request.takes if hold is None else ())
            return self.begin(request)
        event = "held" if hold else "begin"
        self._line(event, now, request.name, row.id, row.state, request, row.generation)
        return BeginResult(
            Began.HELD if hold else Began.EXECUTE, row.record(self.offset, now), None, None, taken.policies
        )

    def _install(self, key: str | None, row: Row, table: Table, met: Row | None) -> bool:
        """Put ``row`` where ``met`` was; ``False`` if the fused path changed it in between."""
        if key is not None:
            if met is None:
                if table.setdefault(key, row) is not row:
                    return False
            else:
                before = met.state
                # a finisher writes the state and then reads the flag, we do the reverse: one of the two sees the other
                met.replaced = True
                if met.state != before:
                    met.replaced = False
                    return False
                table.pop(key, None)
                table[key] = row
        self._put(row)
        if row.state == "held":
            self._holds[row.principal] += 1
        return True

    def cas(self, request: CasRequest) -> CasResult:
        """Change one row if it still is what the request says."""
        with self._lock:
            now = self.clock()
            row = self.find(request.id)
            if row is None:
                return CasResult("absent")
            if not swap.holds_still(row, request, now):
                return CasResult("missed", row.record(self.offset, now))
            taken = self._take(request.takes)
            if not taken.done:
                return replace(taken, record=row.record(self.offset, now))
            swap.change(row, request, now)
            self._enter(row, request.to, now, request.event, request.actor)
            return CasResult("done", row.record(self.offset, now), None, None, taken.policies)

    def _enter(self, row: Row, to: State, now: float, event: str | None, actor: str | None = None) -> None:
        before = row.state
        if before in OPEN and to not in OPEN:
            self._holds[row.principal] -= 1
            if not self._holds[row.principal]:
                del self._holds[row.principal]
        row.version += 1
        row.updated_at = now
        row.state = to
        self._put(row)
        if row.waiter is not None and to != before:
            row.waiter.set()
            row.waiter = None
        if event is not None:
            cold = row.cold
            self.journal.append(
                (event, None, now, cold.name, row.id, to, actor or row.principal, row.key, row.fingerprint,
                 row.generation, cold.reason)
            )  # fmt: skip

    def _take(self, takes: tuple[Take, ...], *, report: bool = False) -> CasResult:
        """Charge all or none."""
        if not takes:
            return _TAKEN
        policies: list[tuple[str, int, float]] = []
        for index, take in enumerate(takes):
            decision = self.governor.take(take.resource, take.subject, take.cost, take.names)
            if report or not decision.allowed:
                policies.extend(decision.policies)
            if not decision.allowed:
                self._give_back(takes[:index])
                return CasResult("limited", None, decision.retry_after, decision.limit, tuple(policies))
        return CasResult("done", None, None, None, tuple(policies))

    def _give_back(self, takes: tuple[Take, ...]) -> None:
        for take in takes:
            self.governor.refund(take.resource, take.subject, take.cost, take.names)

    def _line(
        self, event: str, now: float, name: str, id_: str, state: str, request: BeginRequest, generation: int
    ) -> None:
        self.journal.append(
            (event, None, now, name, id_, state, request.principal, request.key, request.fingerprint, generation,
             request.reason)
        )  # fmt: skip

    async def abegin(self, request: BeginRequest) -> BeginResult:
        """Async twin of ``begin``; nothing waits."""
        return self.begin(request)

    async def acas(self, request: CasRequest) -> CasResult:
        """Async twin of ``cas``; nothing waits."""
        return self.cas(request)

    async def ascan(self, query: Scan) -> Page:
        """Async twin of ``scan``; nothing waits."""
        return self.scan(query)

    async def apurge(self, limit: int = 1000) -> int:
        """Async twin of ``purge``; nothing waits."""
        return self.purge(limit)

    def close(self) -> None:
        """Write the pending ledger lines."""
        self.journal.drain()


__all__ = ["Limiter", "MemoryStore"]
