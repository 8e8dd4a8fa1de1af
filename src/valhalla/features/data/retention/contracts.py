"""The values of retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from valhalla.kernel.lifecycle import Lifecycle
from valhalla.kit.relations import Condition, Relation

Status = Literal["pending", "running", "succeeded", "failed", "blocked"]

LIFECYCLE: Final = Lifecycle(
    "purge",
    "pending",
    {
        "pending": frozenset({"running", "failed", "blocked"}),
        "running": frozenset({"succeeded", "failed"}),
        "succeeded": frozenset[str](),
        "failed": frozenset[str](),
        # it waits for nothing: a purge that people agreed to is one of its own
        "blocked": frozenset[str](),
    },
)


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How long a category is kept: what is older than ``days`` goes, but never the newest ``keep_last`` rows.

    ``export_first``: only what was written to a file before. ``max_share``: a larger part of the table needs people.
    """

    category: str
    days: int | None = None
    keep_last: int | None = None
    export_first: bool = False
    enabled: bool = True
    max_share: float = 0.5
    description: str | None = None


class Hold(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows that stay, whatever the policies say: those of ``category`` (``*``: all) that fulfil every condition."""

    category: str
    reason: str
    conditions: tuple[Condition, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of data that is aged out: which rows of which table, by which clock.

    ``key`` names rows in proofs. ``refused`` says why nothing may be purged. ``keep`` is without a policy.
    """

    name: str
    relation: Relation
    key: tuple[str, ...]
    clock: str
    source: str | None = None
    partitioned: bool = False
    keep: timedelta | None = None
    refused: str | None = None
    children: tuple[tuple[str, str], ...] = ()
    """Tables whose rows go with them, and the column there that names them."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a purge would take now. Without ``exact`` the figures are the planner's."""

    category: str
    cutoff: datetime | None
    total: int
    rows: int
    held: int
    oldest: datetime | None
    newest: datetime | None
    bytes: int
    exact: bool

    @property
    def share(self) -> float:
        """The part of the table that would go."""
        return self.rows / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Purge:
    """One purge and its proof: ``rows`` between ``oldest`` and ``newest``, of which ``digest`` names every key."""

    id: str
    category: str
    status: Status
    actor: str
    reason: str | None
    cutoff: datetime
    policy: Mapping[str, Any]
    most: int | None
    job: str | None
    export: str | None
    rows: int
    batches: int
    days: Sequence[str]
    oldest: datetime | None
    newest: datetime | None
    digest: str | None
    held: int | None
    error: Mapping[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
