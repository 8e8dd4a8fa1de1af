"""The values of unexpected errors. Each kind of error is one row, however often it happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from valhalla.kernel.lifecycle import Lifecycle

Status = Literal["open", "resolved", "muted"]
# what happens again after it was resolved is open again; what is muted stays so
LIFECYCLE: Final = Lifecycle(
    "error",
    "open",
    {
        "open": frozenset({"resolved", "muted"}),
        "resolved": frozenset({"open"}),
        "muted": frozenset({"open", "resolved"}),
    },
)


class Request(Protocol):
    """What is known of the request that failed."""

    @property
    def name(self) -> str:
        """Method and route."""
        ...

    @property
    def correlation(self) -> str:
        """Its correlation id."""
        ...

    @property
    def principal(self) -> str | None:
        """Who sent it."""
        ...


@dataclass(slots=True)
class Occurrences:
    """What happened since the last time that it was written, of one kind."""

    fingerprint: str
    kind: str
    message: str
    route: str
    place: str
    sample: str
    correlation: str
    principal: str | None
    first_at: datetime
    last_at: datetime
    count: int = 1


@dataclass(frozen=True, slots=True)
class Failure:
    """One kind of unexpected error: type, place and route are the same."""

    id: str
    fingerprint: str
    kind: str
    message: str
    """Of the last occurrence, without what looks like a secret."""
    route: str
    place: str
    """The innermost function of ours that it came through."""
    sample: str
    """A traceback: of the first occurrence, or of the first one after it was resolved."""
    status: Status
    count: int
    first_at: datetime
    last_at: datetime
    last_correlation: str
    last_principal: str | None
    version: str
    """The release that it last happened in."""
    settled_at: datetime | None
    settled_by: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which errors to list; ``None`` is any."""

    status: Status | None = None
    kind: str | None = None
    route: str | None = None
    text: str | None = None
    """Part of the message or the place."""
    since: datetime | None = None
    """Those that happened after this instant."""
