"""The file that rows go into: truncated to where it is known to be good, compressed in frames, hashed as it grows."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from valhalla.kit.copying.spec import Compression, Part, Place, Plan

P = ParamSpec("P")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
_BLOCK: Final = 2**20
_BEHIND: Final = 4
_ENDINGS: Final = {"none": "", "gzip": ".gz", "zstd": ".zst"}


class TooLargeError(Exception):
    """The files would take more than they may."""


class Sink(Protocol[T_contra]):
    """Takes rows, in one thread at a time, and writes them in another; what fails there is raised by the next call."""

    def take(self, data: T_contra) -> None:
        """Take whole rows."""
        ...

    def cut(self, rows: int, key: tuple[str, ...] | None, *, last: bool) -> Future[Place | None]:
        """End a piece of ``rows`` rows; its future is the place that is durable after ``sync``, if it has moved."""
        ...

    def sync(self) -> None:
        """Wait until what was cut is on disk; in a thread, while the next piece comes."""
        ...

    @property
    def rows(self) -> int:
        """How many rows were taken, as far as that is known before the piece is cut."""
        ...

    @property
    def written(self) -> int:
        """How many bytes the files have."""
        ...

    @property
    def read(self) -> int:
        """How many bytes of rows were taken."""
        ...


class Behind:
    """A thread that does what it is given in order, and is never far behind: whoever is faster waits for it."""

    def __init__(self, most: int) -> None:
        """``most`` may be left to do."""
        self._most = most
        self._thread = ThreadPoolExecutor(1)
        self._going: deque[Future[Any]] = deque()

    def do(self, work: Callable[P, R], *args: P.args, **named: P.kwargs) -> Future[R]:
        """Have it done.

        Raises:
            BaseException: what was given before has failed.
        """
        while self._going and (self._going[0].done() or len(self._going) >= self._most):
            self._going.popleft().result()
        future = self._thread.submit(work, *args, **named)
        self._going.append(future)
        return future


def open_part(folder: Path, name: str, offset: int) -> io.FileIO:
    """Open a file of ours for the owner alone, cut after ``offset`` bytes.

    Raises:
        FileNotFoundError: it does not have that many bytes: what was recorded is on another machine, or was removed.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = io.FileIO(os.open(folder / name, flags, 0o600), "r+")
    if file.seek(0, os.SEEK_END) < offset:
        file.close()
        raise FileNotFoundError(f"{name} has fewer bytes than were written")
    file.truncate(offset)
    file.seek(0)
    return file


class TextSink:
    """CSV or JSON lines in one file. Each piece ends its compressed frame, so that a file can be cut after it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._name = f"{plan.stem}.{plan.format}{_ENDINGS[plan.compression]}"
        self._at = plan.place
        self._file = open_part(Path(plan.folder), self._name, plan.place.offset)
        self._hash = hashlib.sha256()
        while data := self._file.read(_BLOCK):
            self._hash.update(data)
        self.written = plan.place.offset
        self.read = plan.place.read
        self._frames = _Frames(plan.compression)
        self._waiting = bytearray()
        self._behind = Behind(_BEHIND)
        if self.written == 0 and plan.format == "csv":
            self.take(_header(plan.names))

    @property
    def rows(self) -> int:
        """How many rows the pieces had."""
        return self._at.rows

    def take(self, data: bytes) -> None:
        """Take whole rows."""
        self.read += len(data)
        self._waiting += data
        # blocks of one size, so that a piece compresses to the same bytes however they arrived
        while len(self._waiting) >= _BLOCK:
            block, self._waiting = self._waiting[:_BLOCK], self._waiting[_BLOCK:]
            self._behind.do(self._add, block)

    def cut(self, rows: int, key: tuple[str, ...] | None, *, last: bool) -> Future[Place | None]:
        """End a piece; the place is known when what was taken is in the file."""
        block, self._waiting = self._waiting, bytearray()
        return self._behind.do(self._end, block, rows, key, self.read, last=last)

    def sync(self) -> None:
        """Wait until what was cut is on disk."""
        os.fsync(self._file.fileno())

    def _end(self, block: bytearray, rows: int, key: tuple[str, ...] | None, read: int, *, last: bool) -> Place:
        self._add(block)
        self._write(self._frames.end())
        total = self._at.rows + rows
        parts = (Part(self._name, total, self.written, self._hash.hexdigest()),) if last else ()
        self._at = Place(0, self.written, total, total, read, key, parts)
        return self._at

    def _add(self, block: bytearray) -> None:
        self._write(self._frames.add(block))

    def _write(self, data: bytes | bytearray) -> None:
        if not data:
            return
        if 0 < self._plan.most_bytes < self.written + len(data):
            raise TooLargeError
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._hash.update(data)
        self.written += len(data)


class _Frames:
    """Compression in frames that stand for themselves; tools read several in a row as one."""

    def __init__(self, kind: Compression) -> None:
        self._kind = kind
        self._gzip: zlib._Compress | None = None  # pyright: ignore[reportPrivateUsage]
        if kind == "zstd":
            arrow: Any = import_module("pyarrow")
            self._codec: Any = arrow.Codec("zstd", compression_level=3)

    def add(self, data: bytearray) -> bytes | bytearray:
        if not data or self._kind == "none":
            return data
        if self._kind == "zstd":
            return self._codec.compress(data, asbytes=True)
        if self._gzip is None:
            self._gzip = zlib.compressobj(4, wbits=31)
        return self._gzip.compress(data)

    def end(self) -> bytes:
        done, self._gzip = (b"" if self._gzip is None else self._gzip.flush()), None
        return done


def _header(names: tuple[str, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(names)
    return text.getvalue().encode()
