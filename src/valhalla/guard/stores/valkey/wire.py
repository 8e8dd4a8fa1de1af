"""Requests as the scripts read them, and their answers as the guard's values. Pure.

What a script looks into are plain values; what it only keeps (quorums, approvals, results) are blobs of our own.
``False`` stands for nothing, instants and durations are whole microseconds.
"""

from __future__ import annotations

from typing import Any, Final

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
    Hold,
    Line,
    Page,
    Policies,
    Record,
    Scan,
    State,
    Step,
    Verdict,
)
from valhalla.guard.errors import BadArguments
from valhalla.guard.stores.valkey.takes import takes_of
from valhalla.kit import redact

# longer is for ever: doubles count microseconds exactly up to here
_LONGEST: Final = 2**51
_MICRO: Final = 1_000_000
_PLACES: Final = {
    "fingerprint": 4, "value": 18, "failure": 19, "reason": 20, "evidence": 21, "policy": 22, "quorum": 23,
    "approvals": 24, "payload": 25, "summary": 26,
}  # fmt: skip
_BLOBS: Final = frozenset({"failure", "quorum", "approvals"})

_pack: Final = msgspec.msgpack.Encoder().encode
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


def micros(seconds: float) -> int:
    """Return whole microseconds, at most what the store can count."""
    return min(_LONGEST, round(seconds * _MICRO)) if seconds < _LONGEST / _MICRO else _LONGEST


def begin(request: BeginRequest, ledger: int) -> bytes:
    """Return the request of ``begin``; ``ledger`` is how many lines are kept."""
    hold = request.hold if request.verdict is Verdict.HOLD else None
    key = False if request.key is None else request.key
    return packed(
        (
            ledger, request.id, request.name, key, _raw(request.fingerprint), request.principal, request.effect.value,
            request.keep, request.verdict.value, request.on_lapse == "rerun", request.track, micros(request.lease),
            micros(request.ttl), micros(request.tombstone), _or_false(request.reason), request.policy,
            _or_false(request.parent), _or_false(request.correlation), request.report,
            bool(request.takes) and takes_of(request.takes),
            hold is not None and _held(hold),
            key and redact.text(key), redact.text(request.principal),
        )
    )  # fmt: skip


def began(request: BeginRequest, reply: bytes) -> BeginResult:
    """Return what ``begin`` did."""
    answer = _begun(reply)
    kind = Began(answer.kind)
    if isinstance(answer.row, _Row):
        return BeginResult(kind, _record(answer.row, answer.now), _seconds(answer.wait))
    record = None
    if answer.id is not False:
        record = _made(request, str(answer.id), answer.generation, answer.now / _MICRO)
    return BeginResult(kind, record, _seconds(answer.wait), answer.limit or None, _policies(answer.policies))  # pyright: ignore[reportArgumentType]


def cas(request: CasRequest, ledger: int, *, durable: bool) -> bytes:
    """Return the request of ``cas``."""
    patch: list[Any] = []
    for field, given in request.patch.items():
        value = _storable(given)
        kept = _pack(value) if field in _BLOBS and value is not None else _or_false(value)
        kept = _raw(kept) if isinstance(kept, bytes) else kept
        patch += (_PLACES[field], kept)
    return packed(
        (
            ledger, request.id, tuple(request.sources), request.to, _or_false(request.event), request.actor,
            _or_false(request.generation), _or_false(request.version), _or_false(request.when),
            bool(request.takes) and takes_of(request.takes), _span(request.lease), _span(request.expires_in),
            _span(request.ttl), _span(request.tombstone), patch, durable,
        )
    )  # fmt: skip


def swapped(request: CasRequest, reply: bytes) -> CasResult | None:
    """Return what ``cas`` did; ``None`` if the action is irreversible and the store was not said to be durable."""
    answer = _swapped(reply)
    if answer.kind == "volatile":
        return None
    record = _record(answer.row, answer.now) if isinstance(answer.row, _Row) else None
    if answer.kind == "done" and record is not None and request.patch.get("value") is not None:
        record = msgspec.structs.replace(record, value=request.patch["value"])
    return CasResult(answer.kind, record, _seconds(answer.wait), answer.limit or None, _policies(answer.policies))  # pyright: ignore[reportArgumentType]


def scan(query: Scan) -> bytes:
    """Return the request of ``scan``."""
    return packed(
        (0, query.kind, query.id or "", _or_false(query.name), query.key or "", _or_false(query.principal),
         _or_false(query.after), query.limit)
    )  # fmt: skip


def page(reply: bytes) -> Page:
    """Return the rows or lines that were found."""
    answer = _page(reply)
    return Page(
        answer.now / _MICRO,
        tuple(_record(row, answer.now) for row in answer.rows),
        tuple(_told(seq, _line(_bytes(raw) or b"")) for seq, raw in answer.lines),
        None if answer.cursor is False else int(answer.cursor),
    )


def packed(values: tuple[Any, ...]) -> bytes:
    """Return the bytes of a request.

    Raises:
        BadArguments: a text among them has no UTF-8 form.
    """
    try:
        return _pack(values)
    except UnicodeEncodeError:
        raise BadArguments("a name, key or subject holds half a character", help="Pass text that is UTF-8.") from None


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
    )


def _made(request: BeginRequest, id_: str, generation: int, now: float) -> Record:
    """Return the row that ``begin`` has just made: it holds what was asked, so it need not come back."""
    hold = request.hold if request.verdict is Verdict.HOLD else None
    return Record(
        id=id_,
        name=request.name,
        effect=request.effect,
        state="executing" if hold is None else "held",
        key=request.key,
        fingerprint=request.fingerprint,
        generation=generation,
        version=1,
        principal=request.principal,
        created_at=now,
        updated_at=now,
        lease_until=now + request.lease if hold is None else None,
        expires_at=None if hold is None else now + hold.expires_in,
        keep=request.keep,
        reason=request.reason,
        policy=request.policy,
        quorum=() if hold is None else hold.quorum,
        payload=None if hold is None else hold.payload,
        summary=None if hold is None else hold.summary,
        parent=request.parent,
        correlation=request.correlation,
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


def _storable(value: Any) -> Any:
    """Return a text or failure without what has no UTF-8 form: an end is kept, whatever it says."""
    if isinstance(value, str):
        return redact.storable(value)
    return Failure(redact.storable(value.kind), redact.storable(value.text)) if isinstance(value, Failure) else value


def _held(hold: Hold) -> tuple[Any, ...]:
    return (
        micros(hold.expires_in), hold.cap, _raw(_pack(hold.quorum)), _raw(hold.payload), _or_false(hold.summary),
    )  # fmt: skip


def _raw(data: bytes) -> Raw:
    """Return bytes in the form in which Lua reads them: as text, because its cmsgpack knows no others."""
    size = len(data)
    if size < 32:
        return Raw(bytes((0xA0 | size,)) + data)
    if size < 256:
        return Raw(bytes((0xD9, size)) + data)
    return Raw(b"\xda" + size.to_bytes(2) + data if size < 65_536 else b"\xdb" + size.to_bytes(4) + data)


def _or_false(value: Any) -> Any:
    return False if value is None else value


def _span(seconds: float | None) -> int | bool:
    return False if seconds is None else micros(seconds)


def _text(value: str | bool) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: int | bool) -> float | None:
    return None if value is False else value / _MICRO


def _policies(value: list[tuple[str, int, float]] | bool) -> Policies:
    return () if isinstance(value, bool) else tuple((name, left, reset / _MICRO) for name, left, reset in value)
