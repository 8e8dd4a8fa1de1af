"""The values of stored log lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

Level = Literal["debug", "info", "warning", "error", "critical"]
Origin = Literal["server", "access", "client"]
"""Who wrote it: our own code, the gate, or a client; no client can write as another than itself."""

LEVELS: Final[Mapping[Level, int]] = MappingProxyType(
    {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
)
NAMES: Final[Mapping[int, Level]] = MappingProxyType({number: name for name, number in LEVELS.items()})


class Raw(NamedTuple):
    """One line as it is noted, in a microsecond; what there is to make of it is made when it is written."""

    at: float
    """Seconds since 1970."""
    origin: Origin
    members: Mapping[str, Any]
    principal: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One stored line."""

    at: datetime
    id: int
    level: Level
    origin: Origin
    category: str
    message: str
    correlation_id: str | None
    trace_id: str | None
    principal: str | None
    owner: str | None
    context: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines to return; ``None`` is any."""

    level: Level | None = None
    """This one and those above."""
    category: str | None = None
    text: str | None = None
    """Beginnings of words of the message; all of them must occur."""
    correlation_id: str | None = None
    trace_id: str | None = None
    principal: str | None = None
    origin: Origin | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """One line as a client sends it."""

    level: Level
    category: str
    message: str
    correlation_id: str | None = None
    context: Mapping[str, Any] | None = None
    at: datetime | None = None
