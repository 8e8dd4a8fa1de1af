"""Parquet: a file cannot go on after its end, so there are several, and an unfinished one is written again."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from valhalla.kit.copying.spec import Part, Place, Plan
from valhalla.kit.copying.writing import Behind, TooLargeError, open_part

# an extra without types; who has not installed it finds that out here
pa: Any = import_module("pyarrow")
pq: Any = import_module("pyarrow.parquet")
_TYPES: Final[dict[str, Any]] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "instant": pa.timestamp("us", tz="UTC"),
}
# a row of a megabyte must not make a group of gigabytes
_MOST: Final = 2**25


class ParquetSink:
    """Takes record batches, and makes groups of ``group_rows`` and files of ``part_rows`` of them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._folder = Path(plan.folder)
        kinds = [_TYPES.get(kind, pa.string()) for kind in plan.types]
        self._schema = pa.schema([pa.field(*each) for each in zip(plan.names, kinds, strict=True)])
        self._at = plan.place
        self._part_rows = 0
        self._closed = sum(part.bytes for part in plan.place.parts)
        self._waiting: list[Any] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._file: Any = None
        self._writer: Any = None
        # one group is encoded while the next one comes
        self._behind = Behind(1)
        self._size = 0
        self.rows, self.read = plan.place.rows, plan.place.read

    @property
    def written(self) -> int:
        """How many bytes the files have."""
        return self._closed + self._size

    def take(self, data: Any) -> None:
        """Take a record batch."""
        self.rows += data.num_rows
        self.read += data.nbytes
        while data.num_rows:
            # the groups are the same however the rows arrive
            fitting = data.slice(0, self._plan.group_rows - self._waiting_rows)
            data = data.slice(fitting.num_rows)
            self._waiting.append(fitting)
            self._waiting_rows += fitting.num_rows
            self._waiting_bytes += fitting.nbytes
            if self._waiting_rows == self._plan.group_rows or self._waiting_bytes >= _MOST:
                self._flush()

    def cut(self, rows: int, key: tuple[str, ...] | None, *, last: bool) -> Future[Place | None]:
        """End a piece; only the end of a file is a place to go on from."""
        self._part_rows += rows
        if not last and (self._plan.part_rows == 0 or self._part_rows < self._plan.part_rows):
            return self._behind.do(lambda: None)
        self._flush()
        ended, self._part_rows = self._part_rows, 0
        return self._behind.do(self._end, ended, key, self.read)

    def sync(self) -> None:
        """Nothing is left to wait for: a file is on disk when it is finished."""

    def _flush(self) -> None:
        if self._waiting:
            self._behind.do(self._encode, self._waiting)
            self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0

    def _encode(self, batches: list[Any]) -> None:
        self._open()
        table = pa.Table.from_batches([self._as_declared(batch) for batch in batches])
        self._writer.write_table(table, row_group_size=len(table))
        self._size = self._file.tell()
        if 0 < self._plan.most_bytes < self.written:
            raise TooLargeError

    def _as_declared(self, batch: Any) -> Any:
        # a smallint is an integer like others, and JSON a text
        arrays = [
            (column.storage if isinstance(column, pa.ExtensionArray) else column).cast(field.type)
            for column, field in zip(batch.columns, self._schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _end(self, rows: int, key: tuple[str, ...] | None, read: int) -> Place:
        self._open()
        name, size = self._close()
        if 0 < self._plan.most_bytes < self.written:
            raise TooLargeError
        parts = (*self._at.parts, Part(name, rows, size, _digest(self._folder / name)))
        self._at = Place(len(parts), 0, 0, self._at.rows + rows, read, key, parts)
        return self._at

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
