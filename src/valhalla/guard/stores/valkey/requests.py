"""Requests as the scripts read them. Pure.

What a script looks into are plain values; what it only keeps (quorums, approvals, results) are blobs of our own.
``False`` stands for nothing, instants and durations are whole microseconds.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from valhalla.guard.contracts import BeginRequest, CasRequest, Failure, Hold, Scan, Verdict
from valhalla.guard.errors import BadArguments
from valhalla.guard.stores.valkey.takes import takes_of
from valhalla.kit import redact

# longer is for ever: doubles count microseconds exactly up to here
_LONGEST: Final = 2**51
_MICRO: Final = 1_000_000
_PLACES: Final = {
    "fingerprint": 4, "value": 18, "failure": 19, "reason": 20, "evidence": 21, "policy": 22, "quorum": 23,
    "approvals": 24, "payload": 25, "summary": 26, "attempt": 30,
}  # fmt: skip
# which verb a request is for
_BEGIN: Final = 1
_CAS: Final = 2
_OTHER: Final = 0
_BLOBS: Final = frozenset({"failure", "quorum", "approvals"})

_pack: Final = msgspec.msgpack.Encoder().encode


def micros(seconds: float) -> int:
    """Return whole microseconds, at most what the store can count."""
    return min(_LONGEST, round(seconds * _MICRO)) if seconds < _LONGEST / _MICRO else _LONGEST


def begin(request: BeginRequest) -> bytes:
    """Return the request of ``begin``."""
    hold = request.hold if request.verdict is Verdict.HOLD else None
    key = False if request.key is None else request.key
    return packed(
        (
            _BEGIN, request.id, request.name, key, _raw(request.fingerprint), request.principal, request.effect.value,
            request.keep, request.verdict.value, request.on_lapse == "rerun", request.track, micros(request.lease),
            micros(request.ttl), micros(request.tombstone), _or_false(request.reason), request.policy,
            _or_false(request.parent), _or_false(request.correlation), request.report,
            bool(request.takes) and takes_of(request.takes),
            hold is not None and _held(hold),
            key and redact.text(key), redact.text(request.principal),
        )
    )  # fmt: skip


def cas(request: CasRequest, *, durable: bool) -> bytes:
    """Return the request of ``cas``."""
    patch: list[Any] = []
    for field, given in request.patch.items():
        value = _storable(given)
        kept = _pack(value) if field in _BLOBS and value is not None else _or_false(value)
        kept = _raw(kept) if isinstance(kept, bytes) else kept
        patch += (_PLACES[field], kept)
    return packed(
        (
            _CAS, request.id, tuple(request.sources), request.to, _or_false(request.event), request.actor,
            _or_false(request.generation), _or_false(request.version), _or_false(request.when),
            bool(request.takes) and takes_of(request.takes), _span(request.lease), _span(request.expires_in),
            _span(request.ttl), _span(request.tombstone), patch, durable, request.brief,
        )
    )  # fmt: skip


def scan(query: Scan) -> bytes:
    """Return the request of ``scan``."""
    return packed(
        (_OTHER, query.kind, query.id or "", _or_false(query.name), query.key or "", _or_false(query.principal),
         _or_false(query.after), query.limit)
    )  # fmt: skip


def purge(limit: int) -> bytes:
    """Return the request of ``purge``."""
    return packed((_OTHER, limit))


def packed(values: tuple[Any, ...]) -> bytes:
    """Return the bytes of a request.

    Raises:
        BadArguments: a text among them has no UTF-8 form.
    """
    try:
        return _pack(values)
    except UnicodeEncodeError:
        raise BadArguments("a name, key or subject holds half a character", help="Pass text that is UTF-8.") from None


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
