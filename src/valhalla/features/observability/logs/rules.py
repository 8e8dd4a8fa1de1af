"""What a line becomes as a row, and what a search for words means. Pure; never raises."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from valhalla.features.observability.logs.contracts import LEVELS, Raw
from valhalla.kit.redact import redact, storable, text

MESSAGE: Final = 8_192
_CATEGORY: Final = 100
_WORD: Final = re.compile(r"[a-zA-Z0-9\u0080-\uffff]+")
_MOST_WORDS: Final = 20
# what has a column, or is the same in every line
_COLUMNS: Final = frozenset(
    {"timestamp", "level", "logger", "event", "correlation_id", "trace_id", "span_id", "principal", "message"}
)


def row(raw: Raw) -> dict[str, Any]:
    """Return the row of a line. What the log's own pipeline wrote is redacted already; the rest is here."""
    members = raw.members
    if raw.origin == "access":
        return _access(raw)
    message, context = str(members.get("event", "")), {k: v for k, v in members.items() if k not in _COLUMNS}
    if raw.origin == "client":
        message, context = text(message, limit=MESSAGE), redact(context)
    principal = raw.principal or members.get("principal")
    return {
        "at": datetime.fromtimestamp(raw.at, UTC),
        "level": LEVELS.get(members.get("level", "info"), 20),
        "origin": raw.origin,
        "category": _short(members.get("logger"), _CATEGORY) or "general",
        "message": storable(message[:MESSAGE]),
        "correlation_id": _short(members.get("correlation_id"), 128),
        "trace_id": _short(members.get("trace_id"), 32),
        "principal": _short(principal, 200),
        "owner": _short(raw.owner, 200),
        "context": context or None,
    }


def _access(raw: Raw) -> dict[str, Any]:
    members = raw.members
    status = members["status"]
    path = text(members["path"], limit=500)
    return {
        "at": datetime.fromtimestamp(raw.at, UTC),
        "level": 40 if status >= 500 else 20,
        "origin": "access",
        "category": "access",
        "message": storable(f"{members['method'][:20]} {path} {status}"),
        "correlation_id": members["correlation_id"],
        "trace_id": members["trace_id"],
        "principal": _short(raw.principal, 200),
        "owner": None,
        "context": {
            "method": storable(members["method"][:20]),
            "path": path,
            "status": status,
            "ms": round(members["seconds"] * 1000, 3),
            "address": members["address"],
        },
    }


def query(words: str) -> str | None:
    """Return the search for lines in which every word of ``words`` occurs or begins a word; ``None``: there is none."""
    found = _WORD.findall(words)[:_MOST_WORDS]
    return " & ".join(f"'{word.lower()}':*" for word in found) or None


def plain(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy; whoever writes the line for a person takes it apart."""
    return dict(members)


def _short(value: object, limit: int) -> str | None:
    return None if value is None else storable(str(value)[:limit])
