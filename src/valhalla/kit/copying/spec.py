"""What the two processes say to each other."""

from __future__ import annotations

from typing import Literal

import msgspec

Format = Literal["csv", "jsonl", "parquet"]
Compression = Literal["none", "gzip", "zstd"]
Fault = Literal["no-room", "away", "refused", "missing-library", "busy", "too-large", "lost"]
"""``away`` and ``busy`` may be over soon; after ``lost``, files that are not there any more, one begins anew."""


class Query(msgspec.Struct, frozen=True):
    """A SELECT in parts. ``source`` is ``FROM`` and ``WHERE``; ``key`` are ordering expressions with types ``casts``.

    Without a key the rows are read in one piece, and an interruption begins anew.
    """

    columns: str
    source: str
    key: tuple[str, ...] = ()
    casts: tuple[str, ...] = ()


class Part(msgspec.Struct, frozen=True):
    """One finished file."""

    name: str
    rows: int
    bytes: int
    sha256: str


class Place(msgspec.Struct, frozen=True):
    """How far the files are durable: everything before it is complete, and what lies after it is written again.

    ``offset`` bytes of part number ``part`` are good; ``key`` is that of the last row, as texts.
    """

    part: int = 0
    offset: int = 0
    part_rows: int = 0
    rows: int = 0
    read: int = 0
    """Bytes of rows before compression."""
    key: tuple[str, ...] | None = None
    parts: tuple[Part, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """What is to be copied, and where one was. ``dsn`` holds a password: it goes through a pipe only.

    ``chunk_rows`` are read by one statement.
    """

    dsn: str
    folder: str
    stem: str
    format: Format
    compression: Compression
    names: tuple[str, ...]
    types: tuple[str, ...]
    query: Query
    chunk_rows: int = 100_000
    part_rows: int = 0
    """Rows after which the next file begins; 0: all in one."""
    group_rows: int = 32_768
    """Of Parquet: the rows of a group, which is in memory as a whole."""
    most_bytes: int = 0
    """What the files may take; 0: any."""
    place: Place = Place()
    statement_timeout: float = 600.0


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the child. ``rows`` and ``read`` count also what is not durable yet."""

    rows: int = 0
    read: int = 0
    written: int = 0
    place: Place | None = None
    done: bool = False
    fault: Fault | None = None
    detail: str = ""
