"""What the ledger tells: entries, pages of them, and the outcome of a verification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

FaultKind = Literal["altered", "deleted", "inserted", "reordered", "checkpoint-forged", "truncated"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. ``seq`` is its place in the chain, ``None`` until it is sealed (about a second)."""

    id: int
    at: datetime
    actor: str
    action: str
    kind: str
    subject: str
    details: Mapping[str, Any]
    correlation_id: str | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class Anchor:
    """A point of the chain that was noted outside the database; it proves that nothing before it was cut off since."""

    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Witness:
    """A signed checkpoint as a note that proves, to whoever has the public key, how the chain stood."""

    size: int
    hash: bytes
    sealed_at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place where the ledger is not what was written. ``entry`` is the row's id, if there is a row."""

    kind: FaultKind
    seq: int | None
    entry: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What ``verify`` found. ``entries`` = ``sealed`` + ``unsealed`` rows that were checked before it ended."""

    ok: bool
    sealed: int
    unsealed: int
    checkpoints: int
    fault: Fault | None
    anchor: Anchor | None

    @property
    def entries(self) -> int:
        """How many rows were checked."""
        return self.sealed + self.unsealed
