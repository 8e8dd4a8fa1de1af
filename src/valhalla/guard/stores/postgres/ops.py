"""Requests as the JSON that ``perform`` takes, and its answers as results."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from valhalla.guard.contracts import BeginRequest, BeginResult, CasRequest, CasResult, Record, Take, Verdict
from valhalla.guard.stores.charges import charges_of
from valhalla.guard.stores.wire import pack, seconds
from valhalla.kit import redact


class Charging(msgspec.Struct, frozen=True):
    """Take the limits of a request and do nothing else."""

    request: BeginRequest


Request = BeginRequest | CasRequest | Charging
Result = BeginResult | CasResult

_ANSWERS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_BEGAN: Final = msgspec.json.Decoder(BeginResult)
_SWAPPED: Final = msgspec.json.Decoder(CasResult)
_RECORD: Final = msgspec.json.Decoder(Record)


def encode(requests: Sequence[Request], *, again: bool = False) -> str:
    """Return the argument of ``perform``. ``again`` says that an earlier try may have been done."""
    ops = [_cas(one) if isinstance(one, CasRequest) else _begin(one) for one in requests]
    if again:
        for op in ops:
            op["again"] = True
    return pack(ops).decode()


def decode(requests: Sequence[Request], text: str | bytes) -> list[Result]:
    """Return the answers of ``perform``."""
    return [
        _value(_SWAPPED.decode(raw) if isinstance(request, CasRequest) else _BEGAN.decode(raw))
        for request, raw in zip(requests, _ANSWERS.decode(text), strict=True)
    ]


def record(text: str | bytes) -> Record:
    """Return one row."""
    return _bytes(_RECORD.decode(text))


def _value(result: Any) -> Result:
    if result.record is None or result.record.value is None:
        return result
    return replace(result, record=_bytes(result.record))


def _bytes(record: Record) -> Record:
    return record if record.value is None else replace(record, value=b64decode(record.value))


def _begin(asked: BeginRequest | Charging) -> dict[str, Any]:
    if isinstance(asked, Charging):
        return _begin(replace(asked.request, key=None, track=False)) | {"only": True}
    request = asked
    hold = request.hold if request.verdict is Verdict.HOLD else None
    cold: dict[str, Any] = {"effect": request.effect, "policy": request.policy}
    for name in ("reason", "parent", "correlation"):
        if (text := getattr(request, name)) is not None:
            cold[name] = text
    op: dict[str, Any] = {
        "do": "begin",
        "id": request.id,
        "name": request.name,
        "key": request.key,
        "shown_key": _shown(request.key),
        "fingerprint": request.fingerprint,
        "principal": request.principal,
        "actor": _shown(request.principal),
        "verdict": request.verdict,
        "shown_reason": _shown(request.reason),
        "keep": request.keep,
        "track": request.track,
        "on_lapse": request.on_lapse,
        "lease": seconds(request.lease),
        "ttl": seconds(request.ttl),
        "tombstone": seconds(request.tombstone),
        "report": request.report,
        "cold": cold,
    }
    if hold is not None:
        op |= {"cap": hold.cap, "expires_in": seconds(hold.expires_in)}
        cold |= {"quorum": hold.quorum, "payload": hold.payload, "summary": hold.summary}
    return op | _charges(request.takes)


def _cas(request: CasRequest) -> dict[str, Any]:
    patch: dict[str, Any] = {str(name): value for name, value in request.patch.items()}
    op: dict[str, Any] = {
        "do": "cas",
        "id": request.id,
        "sources": sorted(request.sources),
        "to": request.to,
        "event": request.event,
        "actor": _shown(request.actor),
        "generation": request.generation,
        "version": request.version,
        "when": request.when,
    }
    for name in ("lease", "expires_in", "ttl", "tombstone"):
        if (duration := getattr(request, name)) is not None:
            op[name] = seconds(duration)
    op |= {name: patch.pop(name) for name in ("value", "fingerprint") if name in patch}
    if "reason" in patch:
        op["shown_reason"] = _shown(patch["reason"])
    op["cold"] = patch
    return op | _charges(request.takes)


def _charges(takes: tuple[Take, ...]) -> dict[str, Any]:
    return {"charges": charges_of(takes)} if takes else {}


def _shown(text: str | None) -> str | None:
    return None if text is None else redact.text(text)
