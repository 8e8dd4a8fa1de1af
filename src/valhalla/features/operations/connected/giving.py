"""Writes the registries for whoever follows them; each is written once per revision, however many follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from valhalla.features.operations.connected.contracts import Document, Part, Row
from valhalla.features.operations.connected.errors import SnapshotUnsure
from valhalla.kit.changes import Feed

Wanted = Callable[[Any], bool]


class Giver:
    """Reads the snapshots of the feed."""

    def __init__(self, feed: Feed, registries: Mapping[str, Wanted], *, environment: str, notice: timedelta) -> None:
        """``registries`` are handed on by name, of each the values that are wanted elsewhere."""
        self._feed = feed
        self._registries = dict(registries)
        self._environment = environment
        self._notice = notice.total_seconds()
        self._written: dict[str, tuple[int, msgspec.Raw]] = {}

    def document(self, revision: str, known: str | None) -> bytes:
        """Return what is newer than ``known``; everything for who knows nothing, or what nobody could know.

        Raises:
            SnapshotUnsure: a registry is not as it is stored.
        """
        for name in self._registries:
            if self._feed.fault(name) is not None:
                raise SnapshotUnsure(f"the registry '{name}' cannot be read", retry_after=5)
        before = known.split(".") if known is not None else []
        now = revision.split(".")
        if len(before) != len(now):
            before = [""] * len(now)
        parts = {
            name: self._part(name) for name, was, is_ in zip(self._registries, before, now, strict=True) if was != is_
        }
        return msgspec.json.encode(Document(revision, self._environment, self._notice, parts))

    def _part(self, name: str) -> msgspec.Raw:
        snapshot, wanted = self._feed.snapshot(name), self._registries[name]
        written = self._written.get(name)
        if written is None or written[0] != snapshot.revision:
            rows: list[Row[Any]] = [
                Row(record.key, record.updated_at, record.value)
                for record in snapshot.records.values()
                if wanted(record.value)
            ]
            raw = msgspec.Raw(msgspec.json.encode(Part(snapshot.revision, rows)))
            written = self._written[name] = snapshot.revision, raw
        return written[1]
