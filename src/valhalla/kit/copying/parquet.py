"""Parquet: a file cannot go on after its end, so there are several, and an unfinished one is written again."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from valhalla.kit.copying.spec import Part, Place, Plan
from valhalla.kit.copying.writing import TooLargeError, open_part

# an extra without types; who has not installed it finds that out here
pa: Any = import_module("pyarrow")
pacsv: Any = import_module("pyarrow.csv")
pq: Any = import_module("pyarrow.parquet")
_TYPES: Final[dict[str, Any]] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "instant": pa.timestamp("us", tz="UTC"),
}
# a row of a megabyte must not make a group of gigabytes
_MOST: Final = 32 * 2**20


class ParquetSink:
    """One row group per piece, a file per ``part_rows``."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._folder = Path(plan.folder)
        kinds = [_TYPES.get(kind, pa.string()) for kind in plan.types]
        self._schema = pa.schema([pa.field(*each) for each in zip(plan.names, kinds, strict=True)])
        self._reading = pacsv.ReadOptions(column_names=list(plan.names), use_threads=False, block_size=2**30)
        # what COPY leaves unquoted and empty is NULL, and what it quotes is a text
        self._converting = pacsv.ConvertOptions(
            column_types=self._schema,
            null_values=[""],
            true_values=["t"],
            false_values=["f"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        self._at = plan.place
        self._rows = self._part_rows = 0
        self._closed = sum(part.bytes for part in plan.place.parts)
        self._waiting = bytearray()
        self._file: Any = None
        self._writer: Any = None
        # one piece is encoded while the next one comes
        self._thread = ThreadPoolExecutor(1)
        self._encoding: Future[None] | None = None
        self._size = 0
        self.read = plan.place.read

    @property
    def written(self) -> int:
        """How many bytes the files have."""
        return self._closed + self._size

    def take(self, data: bytes) -> None:
        """Take whole rows."""
        self.read += len(data)
        self._waiting += data
        if len(self._waiting) >= _MOST:
            self._flush()

    def cut(self, rows: int, key: tuple[str, ...] | None, *, last: bool) -> Place | None:
        """End a piece; only the end of a file is a place to go on from."""
        self._flush()
        self._rows += rows
        self._part_rows += rows
        if 0 < self._plan.most_bytes < self.written:
            raise TooLargeError
        if not last and (self._plan.part_rows == 0 or self._part_rows < self._plan.part_rows):
            return None
        self._settle()
        self._open()
        name, size = self._close()
        part = Part(name, self._part_rows, size, _digest(self._folder / name))
        parts = (*self._at.parts, part)
        self._at = Place(len(parts), 0, 0, self._at.rows + self._part_rows, self.read, key, parts)
        self._rows = self._part_rows = 0
        return self._at

    def sync(self) -> None:
        """Nothing is left to wait for: a file is on disk when it is finished."""

    def _flush(self) -> None:
        if not self._waiting:
            return
        self._settle()
        self._open()
        data, self._waiting = self._waiting, bytearray()
        self._encoding = self._thread.submit(self._encode, data)

    def _settle(self) -> None:
        encoding, self._encoding = self._encoding, None
        if encoding is not None:
            encoding.result()

    def _encode(self, data: bytearray) -> None:
        table = pacsv.read_csv(
            pa.BufferReader(data),
            read_options=self._reading,
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=self._converting,
        )
        self._writer.write_table(table, row_group_size=len(table))
        self._size = self._file.tell()

    def _open(self) -> None:
        if self._writer is not None:
            return
        raw = open_part(self._folder, self._name(), 0)
        self._file = pa.PythonFile(raw, mode="w")
        codec = {"none": "NONE", "gzip": "GZIP", "zstd": "ZSTD"}[self._plan.compression]
        # dictionaries are kept in memory for each column until the group ends
        self._writer = pq.ParquetWriter(self._file, self._schema, compression=codec, dictionary_pagesize_limit=2**18)

    def _close(self) -> tuple[str, int]:
        self._writer.close()
        size = self._file.tell()
        self._file.close()
        self._closed += size
        self._file = self._writer = None
        self._size = 0
        return self._name(), size

    def _name(self) -> str:
        return f"{self._plan.stem}-{len(self._at.parts) + 1:05d}.parquet"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
