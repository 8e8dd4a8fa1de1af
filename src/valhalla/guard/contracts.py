"""The frozen values that cross the guard's borders: what a store is asked, what it answers, what a caller gets.

Instants are seconds since the epoch **on the store's clock**, durations are seconds. A request never carries an
instant: the store decides what time it is, so callers whose clocks differ agree on leases and expiry.
None of them leads back to itself, so the collector of garbage need not look at them (``gc=False``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from valhalla.guard.words import OPEN, RELEASED, SETTLED, Began, Effect, Mode, State, Verdict

if TYPE_CHECKING:
    from valhalla.guard.governor import Limit


class Step(Struct, frozen=True, gc=False):
    """One step of a quorum: ``count`` distinct approvers who hold ``role`` (``None``: anybody but the requester)."""

    count: int
    role: str | None = None

    def __str__(self) -> str:
        return f"{self.count} of {self.role or 'anyone'}"


class Approval(Struct, frozen=True, gc=False):
    """One person's decision on a held action, bound to the fingerprint that the person saw."""

    step: int
    approver: str
    decision: Literal["approve", "deny"]
    fingerprint: bytes
    at: float
    reason: str | None = None


class Take(Struct, frozen=True, gc=False):
    """What one call asks of the governor.

    The rest is for stores that count by themselves: ``limits`` are the resource's own, ``every`` those of all resources
    together, and ``free`` says that a resource without any is known: nothing is counted, and the call goes through.
    """

    resource: str
    subject: str = ""
    cost: int = 1
    names: tuple[str, ...] | None = None
    limits: tuple[Limit, ...] = ()
    every: tuple[Limit, ...] = ()
    free: bool = False


class Hold(Struct, frozen=True, gc=False):
    """How an action is held: ``expires_in`` seconds, ``cap`` open holds per principal, who must approve."""

    quorum: tuple[Step, ...]
    expires_in: float
    cap: int
    payload: bytes
    summary: str | None = None


class BeginRequest(Struct, frozen=True, gc=False):
    """One proposed action. It is a value of its own, so a store may commit many of them together.

    ``id`` is used if a row is made. ``key`` is unique under ``name``; ``None`` asks for no dedup. ``keep`` says that a
    settled row goes on answering its key for ``ttl`` seconds (and then, without its result, for ``tombstone``); without
    it the key only joins callers while the row is open or executing. ``track`` asks for a row even without a key, so
    that a crash is seen. ``on_lapse`` says what becomes of an execution that nobody knows the end of. ``report`` asks
    for the state of all limits also when they allow; a refusal always tells it.
    """

    id: str
    name: str
    effect: Effect
    key: str | None
    fingerprint: bytes
    principal: str
    verdict: Verdict = Verdict.RUN
    reason: str | None = None
    policy: str = ""
    hold: Hold | None = None
    takes: tuple[Take, ...] = ()
    keep: bool = True
    track: bool = True
    on_lapse: Literal["rerun", "report"] = "report"
    lease: float = 60.0
    ttl: float = 86_400.0
    tombstone: float = 0.0
    parent: str | None = None
    correlation: str | None = None
    report: bool = False


class Failure(Struct, frozen=True, gc=False):
    """A failure as it is kept: the exception's type by name and its redacted text."""

    kind: str
    text: str


class Record(Struct, frozen=True, gc=False):
    """One action as a store knows it; a copy, never the store's own row.

    ``version`` grows with every change, ``generation`` with every new execution. ``value`` is what the store's codec
    made of the result; ``None`` means that no result is kept (the encoded form of a result ``None`` is not ``None``).
    ``attempt`` tells who began the present execution, by the id of its request; ``None``: by the row's own id.
    """

    id: str
    name: str
    effect: Effect
    state: State
    key: str | None
    fingerprint: bytes
    generation: int
    version: int
    principal: str
    created_at: float
    updated_at: float
    lease_until: float | None = None
    expires_at: float | None = None
    value_until: float | None = None
    keep_until: float | None = None
    keep: bool = True
    value: Any = None
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


Policies = tuple[tuple[str, int, float], ...]
"""``(name, remaining, seconds until full again)`` of every limit that a call met."""


class BeginResult(Struct, frozen=True, gc=False):
    """What ``begin`` did. ``record`` is the row that was made or met; ``limit`` names the limit that refused."""

    kind: Began
    record: Record | None = None
    retry_after: float | None = None
    limit: str | None = None
    policies: Policies = ()


Condition = Literal["unexpired", "expired", "lapsed"]
Field = Literal[
    "value",
    "failure",
    "reason",
    "evidence",
    "approvals",
    "policy",
    "quorum",
    "payload",
    "fingerprint",
    "summary",
    "attempt",
]


class CasRequest(Struct, frozen=True, gc=False):
    """One compare-and-swap of a row: it happens if everything named here still holds, else nothing does.

    ``sources`` are the states to come from; ``generation`` and ``version`` fence when given. ``when`` is a condition on
    the store's clock: the hold is not expired, is expired, or the lease has lapsed. ``takes`` are charged in the same
    step, all or none. ``lease``, ``expires_in``, ``ttl`` and ``tombstone`` set the
    row's instants from the store's clock. ``event`` names the ledger row; ``None`` writes none (heartbeats).
    ``brief`` says that the row itself is not asked for: a store may answer ``done`` without it.
    """

    id: str
    sources: frozenset[str]
    to: State
    event: str | None
    actor: str
    generation: int | None = None
    version: int | None = None
    when: Condition | None = None
    takes: tuple[Take, ...] = ()
    lease: float | None = None
    expires_in: float | None = None
    ttl: float | None = None
    tombstone: float | None = None
    patch: Mapping[Field, Any] = {}
    brief: bool = False


Swapped = Literal["done", "missed", "absent", "limited"]


class CasResult(Struct, frozen=True, gc=False):
    """What ``cas`` did. ``record`` is the row as it is now, also after a miss; ``None`` if there is no such row."""

    kind: Swapped
    record: Record | None = None
    retry_after: float | None = None
    limit: str | None = None
    policies: Policies = ()

    @property
    def done(self) -> bool:
        """Whether the row was changed."""
        return self.kind == "done"


ScanKind = Literal["id", "key", "open", "approved", "overdue", "lapsed", "indeterminate", "all", "ledger"]


class Scan(Struct, frozen=True, gc=False):
    """A question for rows, oldest first, at most ``limit``; ``after`` is the ``cursor`` of the page before.

    ``id`` wants ``id``; ``key`` wants ``name`` and ``key``; the others may be narrowed by ``name`` and ``principal``.
    ``overdue`` = open holds past their expiry, ``lapsed`` = executions past their lease, ``ledger`` = lines.
    """

    kind: ScanKind
    id: str | None = None
    name: str | None = None
    key: str | None = None
    principal: str | None = None
    after: int | None = None
    limit: int = 100


class Line(Struct, frozen=True, gc=False):
    """One ledger line: what happened to which action. ``begun_at`` is set where begin and finish share the line."""

    seq: int
    at: float
    event: str
    name: str
    id: str
    state: str
    principal: str
    key: str | None
    fingerprint: bytes
    generation: int
    begun_at: float | None = None
    reason: str | None = None


class Page(Struct, frozen=True, gc=False):
    """The answer to a scan. ``now`` is the store's time; ``cursor`` is ``None`` when nothing follows."""

    now: float
    records: tuple[Record, ...] = ()
    lines: tuple[Line, ...] = ()
    cursor: int | None = None


__all__ = [
    "OPEN",
    "RELEASED",
    "SETTLED",
    "Approval",
    "Began",
    "BeginRequest",
    "BeginResult",
    "CasRequest",
    "CasResult",
    "Condition",
    "Effect",
    "Failure",
    "Field",
    "Hold",
    "Line",
    "Mode",
    "Page",
    "Policies",
    "Record",
    "Scan",
    "ScanKind",
    "State",
    "Step",
    "Swapped",
    "Take",
    "Verdict",
]
