"""What a registry holds and tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeAlias, TypeVar

T = TypeVar("T")
Body: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record(Generic[T]):
    """One record. ``version`` is the registry's revision that wrote it: never used twice, also after a deletion."""

    key: str
    value: T
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def etag(self) -> str:
        """The strong entity tag that ``If-Match`` names."""
        return f'"{self.version}"'


@dataclass(frozen=True, slots=True)
class Change:
    """One edit of one record; ``before`` and ``after`` are the JSON bodies, ``None`` where there was or is no record.

    ``revision`` is the registry's number of it. With ``changed`` false the record already was so and nothing was
    written; with ``dry_run`` nothing was written either, and ``revision`` is what it would be if nobody else wrote.
    """

    registry: str
    revision: int
    op: Literal["put", "delete"]
    key: str
    before: Body | None
    after: Body | None
    actor: str
    reason: str | None
    at: datetime
    correlation_id: str | None
    changed: bool = True
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of one key between two revisions."""

    key: str
    before: Body | None
    after: Body | None


@dataclass(frozen=True, slots=True)
class Search:
    """A text that the key, or one of the named members of the body, must contain in any case of its letters."""

    text: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Put(Generic[T]):
    """Create or replace; ``expect_version`` 0 means that the key must be free, ``None`` that any version will do."""

    key: str
    value: T
    expect_version: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove; without ``expect_version`` whatever version it is."""

    key: str
    expect_version: int | None = None


Op: TypeAlias = Put[T] | Delete
