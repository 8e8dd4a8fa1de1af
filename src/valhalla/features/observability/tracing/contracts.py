"""The values of tracing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from valhalla.kit.spans import Span

Status = Literal["ok", "error"]
SERVICE = "valhalla"


class Ended(Protocol):
    """One answered request, as the gate tells of it; times in seconds."""

    @property
    def name(self) -> str: ...
    @property
    def trace_id(self) -> str: ...
    @property
    def span_id(self) -> str: ...
    @property
    def parent_id(self) -> str | None: ...
    @property
    def started(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def status(self) -> int: ...
    @property
    def correlation(self) -> str: ...
    @property
    def principal(self) -> str | None: ...
    @property
    def inner(self) -> Sequence[Span]: ...


class Kept(NamedTuple):
    """A span on its way into the table."""

    span: Span
    at: float
    entry: bool
    service: str = SERVICE
    correlation: str | None = None
    principal: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A span of the table."""

    at: datetime
    trace_id: str
    span_id: str
    parent_id: str | None
    entry: bool
    service: str
    name: str
    kind: str
    status: Status
    started_at: datetime
    seconds: float
    correlation_id: str | None
    principal: str | None
    attributes: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Node:
    """A span with those that it caused, the first to begin first."""

    span: Stored
    children: Sequence[Node]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which traces to list, by their entries; ``None`` is any."""

    name: str | None = None
    """Method and route, or what a job's or client's span is called."""
    status: Status | None = None
    slower_than: float | None = None
    correlation_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
