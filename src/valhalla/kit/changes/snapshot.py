"""One registry at one revision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from valhalla.kit.registry import Change, Record, Registry

T = TypeVar("T")
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Snapshot(Generic[T]):
    """Read-only and never changed: whoever holds one sees one revision."""

    __slots__ = ("records", "registry", "revision")

    registry: str
    revision: int
    records: MappingProxyType[str, Record[T]]

    def __init__(self, registry: str, revision: int = 0, records: Mapping[str, Record[T]] = _NOTHING) -> None:
        object.__setattr__(self, "registry", registry)
        object.__setattr__(self, "revision", revision)
        object.__setattr__(self, "records", MappingProxyType(dict(records)))

    @classmethod
    def owning(cls, registry: str, revision: int, records: dict[str, Record[T]]) -> Snapshot[T]:
        """Make one of a dictionary that nobody else will change: copying ten thousand records costs every change."""
        made: Snapshot[T] = cls(registry, revision)
        object.__setattr__(made, "records", MappingProxyType(records))
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a snapshot cannot be changed")

    def __repr__(self) -> str:
        return f"Snapshot({self.registry!r}, revision={self.revision}, records={len(self.records)})"


def successor(snapshot: Snapshot[Any], registry: Registry[Any], changes: Iterable[Change]) -> Snapshot[Any]:
    """Return the snapshot after contiguous changes.

    Raises:
        Misconfigured: a body does not fit the registry's type.
    """
    # the view's own copy is the dictionary's; dict() of a view asks it for one key after another
    records = snapshot.records.copy()
    revision = snapshot.revision
    last: dict[str, Change] = {}
    created: dict[str, datetime] = {}
    for change in changes:
        revision = change.revision
        last[change.key] = change
        if change.before is None:
            created[change.key] = change.at
    # only what remains is decoded: an edit that this release cannot read may already be mended
    for key, change in last.items():
        if change.after is None:
            records.pop(key, None)
            continue
        born = created.get(key) or (records[key].created_at if key in records else change.at)
        records[key] = Record(key, registry.decode(key, change.after), change.revision, born, change.at)
    return Snapshot[Any].owning(snapshot.registry, revision, records)
