"""The routes as an ingress sees them: one look-up in a dictionary per event. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from valhalla.sandbox.routing import kinds, subjects
from valhalla.sandbox.routing.contracts import Record
from valhalla.sandbox.routing.errors import EventInvalid

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Record).decode
_KEPT: Final = 100_000


class Way(NamedTuple):
    """What is done with the events of one key. ``epoch`` is the sequence of its record."""

    sandbox: str | None
    mirror: str | None
    sample: float
    held: bool
    epoch: int


NOWHERE: Final = Way(None, None, 0.0, False, 0)


def encode(record: Record) -> bytes:
    """Write the body of a record."""
    return _encode(record)


def decode(body: bytes) -> Record | None:
    """Read the body of a record; None for one that has none: the server's marker at the end of its time, or garbage."""
    try:
        record = _decode(body)
        subjects.lane(record.sandbox)
    except (msgspec.DecodeError, EventInvalid):
        return None
    return record


class RouteTable:
    """Ways by source and key. Applying an older epoch than one knows changes nothing."""

    def __init__(self) -> None:
        self.epoch = 0
        self._records: dict[tuple[str, str], tuple[Record, int]] = {}
        self._ways: dict[tuple[str, str], Way] = {}
        self._patterns: dict[str, Way] = {}
        self._tokens: dict[tuple[str, str], str] = {}

    def apply(self, subject: str, body: bytes, epoch: int) -> tuple[str, str] | None:
        """Take over a message of the routes' stream and return whose way it is; None for what is no route.

        A key without a record is production's, and so is one whose record cannot be read.
        """
        self.epoch = max(self.epoch, epoch)
        try:
            prefix, source, key = subject.split(".")
            where = subjects.check_source(source), subjects.plain(key)
        except (ValueError, EventInvalid):
            return None
        known = self._records.get(where)
        if prefix != subjects.ROUTES or (known is not None and known[1] >= epoch):
            return None
        record = decode(body) or Record(kind="")
        self._records[where] = record, epoch
        way = Way(
            record.sandbox if record.mode == "steal" else None,
            record.sandbox if record.mode == "mirror" else None,
            record.sample,
            record.held,
            epoch,
        )
        if source == kinds.PATTERNS and ("*" in where[1] or where[1].endswith(">")):
            self._patterns[where[1]] = way
            if way.sandbox is None and way.mirror is None and not way.held:
                del self._patterns[where[1]]
        else:
            self._ways[where] = way
        return where

    def way(self, source: str, key: str) -> Way:
        """Return what is done with the events of a key now."""
        found = self._ways.get((source, key))
        if found is not None and (found.sandbox is not None or found.mirror is not None or found.held):
            return found
        if self._patterns and source == kinds.PATTERNS:
            for pattern, way in self._patterns.items():
                if kinds.matches(pattern, key):
                    return way
        return found or NOWHERE

    def address(self, source: str, key: str) -> str:
        """Return ``subjects.address``, remembered.

        Raises:
            EventInvalid: one of them cannot be written.
        """
        found = self._tokens.get((source, key))
        if found is None:
            if len(self._tokens) >= _KEPT:
                self._tokens.clear()
            found = self._tokens[source, key] = subjects.address(source, key)
        return found

    def covers(self, where: tuple[str, str], source: str, key: str) -> bool:
        """Say whether the record of ``where`` concerns events of a source and key."""
        if where == (source, key):
            return True
        return where[0] == source == kinds.PATTERNS and kinds.matches(where[1], key)

    def claimed(self) -> Iterator[tuple[str, str, Record, int]]:
        """Go through what is not production's: source, key, record, epoch."""
        for (source, key), (record, epoch) in list(self._records.items()):
            if record.sandbox is not None or record.held:
                yield source, key, record, epoch

    def __len__(self) -> int:
        return sum(1 for _ in self.claimed())


def sampled(msg_id: str, part: float) -> bool:
    """Say whether a mirror of this part copies the event: the same answer wherever and whenever it is asked."""
    return part >= 1.0 or zlib.crc32(msg_id.encode()) < part * 2**32
