"""The scripts' answers as the guard's values. Pure."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from valhalla.guard.contracts import (
    SETTLED,
    Approval,
    Began,
    BeginRequest,
    BeginResult,
    CasRequest,
    CasResult,
    Effect,
    Failure,
    Line,
    Page,
    Policies,
    Record,
    State,
    Step,
)
from valhalla.guard.stores.made import made
from valhalla.kit import redact

_MICRO: Final = 1_000_000

_unpack_failure: Final = msgspec.msgpack.Decoder(Failure).decode
_unpack_quorum: Final = msgspec.msgpack.Decoder(tuple[Step, ...]).decode
_unpack_approvals: Final = msgspec.msgpack.Decoder(tuple[Approval, ...]).decode


class _Row(Struct, array_like=True, frozen=True):
    """A row as rows.lua has it."""

    id: str
    name: str
    key: str | bool
    fingerprint: Raw
    principal: str
    effect: str
    keep: bool
    state: State
    generation: int
    version: int
    op: Raw
    created: int
    updated: int
    lease: int | bool
    expires: int | bool
    ttl: int
    tombstone: int
    value: Raw
    failure: Raw
    reason: str | bool
    evidence: str | bool
    policy: str | bool
    quorum: Raw
    approvals: Raw
    payload: Raw
    summary: str | bool
    parent: str | bool
    correlation: str | bool
    shown: str | bool
    # rows of an earlier release end before
    attempt: str | bool = False


class _Answer(Struct, array_like=True, frozen=True):
    kind: str
    now: int


class _Begun(_Answer, array_like=True, frozen=True):
    id: str | bool
    generation: int
    wait: int | bool
    limit: str | bool
    policies: list[tuple[str, int, float]] | bool
    row: _Row | bool


class _Swapped(_Answer, array_like=True, frozen=True):
    wait: int | bool
    limit: str | bool
    policies: list[tuple[str, int, float]] | bool
    row: _Row | bool


class _Page(Struct, array_like=True, frozen=True):
    now: int
    rows: list[_Row]
    lines: list[tuple[int, Raw]]
    cursor: int | bool


class _Line(Struct, array_like=True, frozen=True):
    at: int
    event: str
    name: str
    id: str
    state: str
    principal: str
    key: str | bool
    fingerprint: Raw
    generation: int
    reason: str | bool


_begun: Final = msgspec.msgpack.Decoder(_Begun).decode
_swapped: Final = msgspec.msgpack.Decoder(_Swapped).decode
_page: Final = msgspec.msgpack.Decoder(_Page).decode
_line: Final = msgspec.msgpack.Decoder(_Line).decode


def began(request: BeginRequest, reply: bytes) -> BeginResult:
    """Return what ``begin`` did."""
    answer = _begun(reply)
    kind = Began(answer.kind)
    if isinstance(answer.row, _Row):
        return BeginResult(kind, _record(answer.row, answer.now), _seconds(answer.wait))
    record = None
    if answer.id is not False:
        record = made(request, str(answer.id), answer.generation, answer.now / _MICRO)
    return BeginResult(kind, record, _seconds(answer.wait), answer.limit or None, _policies(answer.policies))  # pyright: ignore[reportArgumentType]


def swapped(request: CasRequest, reply: bytes) -> CasResult | None:
    """Return what ``cas`` did; ``None`` if the action is irreversible and the store was not said to be durable."""
    answer = _swapped(reply)
    if answer.kind == "volatile":
        return None
    record = _record(answer.row, answer.now) if isinstance(answer.row, _Row) else None
    if answer.kind == "done" and record is not None and request.patch.get("value") is not None:
        record = msgspec.structs.replace(record, value=request.patch["value"])
    return CasResult(answer.kind, record, _seconds(answer.wait), answer.limit or None, _policies(answer.policies))  # pyright: ignore[reportArgumentType]


def page(reply: bytes) -> Page:
    """Return the rows or lines that were found."""
    answer = _page(reply)
    return Page(
        answer.now / _MICRO,
        tuple(_record(row, answer.now) for row in answer.rows),
        tuple(_told(seq, _line(_bytes(raw) or b"")) for seq, raw in answer.lines),
        None if answer.cursor is False else int(answer.cursor),
    )


def _record(row: _Row, now: int) -> Record:
    state, updated = row.state, row.updated
    settled = state in SETTLED
    value_until = updated + row.ttl if settled else None
    keep_until = None
    if settled:
        keep_until = updated + row.ttl + row.tombstone
    elif state in _DROPPED:
        keep_until = updated + row.ttl
    failure, approvals, quorum = _bytes(row.failure), _bytes(row.approvals), _bytes(row.quorum)
    return Record(
        id=row.id,
        name=row.name,
        effect=Effect(row.effect),
        state=state,
        key=_text(row.key),
        fingerprint=_bytes(row.fingerprint) or b"",
        generation=row.generation,
        version=row.version,
        principal=row.principal,
        created_at=row.created / _MICRO,
        updated_at=updated / _MICRO,
        lease_until=_seconds(row.lease) if state == "executing" else None,
        expires_at=_seconds(row.expires),
        value_until=None if value_until is None else value_until / _MICRO,
        keep_until=None if keep_until is None else keep_until / _MICRO,
        keep=row.keep,
        value=None if value_until is not None and value_until <= now else _bytes(row.value),
        failure=None if failure is None else _unpack_failure(failure),
        reason=_text(row.reason),
        evidence=_text(row.evidence),
        policy=row.policy if isinstance(row.policy, str) else "",
        quorum=() if quorum is None else _unpack_quorum(quorum),
        approvals=() if approvals is None else _unpack_approvals(approvals),
        payload=_bytes(row.payload),
        summary=_text(row.summary),
        parent=_text(row.parent),
        correlation=_text(row.correlation),
        attempt=_text(row.attempt),
    )


def _told(seq: int, line: _Line) -> Line:
    return Line(
        seq=seq,
        at=line.at / _MICRO,
        event=line.event,
        name=line.name,
        id=line.id,
        state=line.state,
        principal=line.principal,
        key=_text(line.key),
        fingerprint=_bytes(line.fingerprint) or b"",
        generation=line.generation,
        reason=None if line.reason is False else redact.text(str(line.reason)),
    )


_DROPPED: Final = frozenset({"denied", "not_done", "expired", "cancelled", "superseded", "stale"})


def _bytes(raw: Raw) -> bytes | None:
    """Return a string of Lua as bytes: cmsgpack calls all of them text, also those that are none."""
    data = bytes(raw)
    head = data[0]
    if head < 0xC0:
        return data[1:]
    return None if head == 0xC2 else data[{0xD9: 2, 0xDA: 3, 0xDB: 5}[head] :]


def _text(value: str | bool) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: int | bool) -> float | None:
    return None if value is False else value / _MICRO


def _policies(value: list[tuple[str, int, float]] | bool) -> Policies:
    return () if isinstance(value, bool) else tuple((name, left, reset / _MICRO) for name, left, reset in value)
