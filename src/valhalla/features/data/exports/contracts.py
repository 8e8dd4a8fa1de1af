"""The values of exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from valhalla.kernel.lifecycle import Lifecycle
from valhalla.kit.copying.spec import Compression
from valhalla.kit.relations import Condition, Relation

__all__ = [
    "LIFECYCLE",
    "PROFILES",
    "Compression",
    "Draft",
    "Export",
    "File",
    "Format",
    "Profile",
    "Source",
    "Status",
]

Format = Literal["csv", "jsonl", "parquet", "sql"]
"""``sql`` is the form of dumps, and of them alone."""
Status = Literal["pending", "running", "completed", "failed", "cancelled"]
Profile = Literal["standard", "strict", "none"]
"""``standard`` masks secrets, ``strict`` also says who it was by pseudonyms only, ``none`` shows what is stored."""
PROFILES: Final[tuple[Profile, ...]] = ("standard", "strict", "none")

LIFECYCLE: Final = Lifecycle(
    "export",
    "pending",
    {
        "pending": frozenset({"running", "failed", "cancelled"}),
        "running": frozenset({"completed", "failed", "cancelled"}),
        "completed": frozenset[str](),
        "failed": frozenset[str](),
        "cancelled": frozenset[str](),
    },
)


@dataclass(frozen=True, slots=True)
class Source:
    """What can be exported. ``relation`` is None for a dump; ``scope`` is what a key needs besides."""

    name: str
    scope: str
    relation: Relation | None


@dataclass(frozen=True, slots=True)
class Draft:
    """An export to be made. Without ``columns`` all; ``until`` is now if the source has a clock and none is named."""

    source: str
    format: Format | None = None
    """CSV if none is named, ``sql`` of a dump."""
    compression: Compression | None = None
    profile: Profile = "standard"
    columns: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """One finished file of an export."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Export:
    """One export. ``rows``, ``read`` (bytes of rows) and ``written`` (of files) grow while it runs."""

    id: str
    source: str
    format: Format
    compression: Compression
    profile: Profile
    columns: Sequence[str]
    conditions: Sequence[Mapping[str, Any]]
    since: datetime | None
    until: datetime | None
    status: Status
    actor: str
    owner: str
    scope: str
    reason: str | None
    job: str | None
    estimate: int | None
    rows: int
    read: int
    written: int
    files: Sequence[File]
    manifest: Mapping[str, Any] | None
    store: Literal["local", "s3"]
    error: Mapping[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seen_at: datetime | None
    expires_at: datetime | None
    removed_at: datetime | None
    query: Mapping[str, Any] | None = field(default=None, repr=False)
    place: Mapping[str, Any] | None = field(default=None, repr=False)

    def eta(self) -> float | None:
        """Return the seconds it may still take at its pace, None while nobody can say."""
        if self.status != "running" or not self.estimate or not self.rows or self.started_at is None:
            return None
        seen = self.seen_at or self.started_at
        taken = (seen - self.started_at).total_seconds()
        return max(0.0, (self.estimate - self.rows) * taken / self.rows)
