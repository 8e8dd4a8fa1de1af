"""What the job does: have a child copy, note how far it is, bring the files where they belong."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast

import msgspec

from valhalla.features.data.exports import rules, store
from valhalla.features.data.exports.contracts import Export, File
from valhalla.features.data.exports.life import Life
from valhalla.features.data.exports.storage import MANIFEST, Bucket, Local
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.copying.process import copying
from valhalla.kit.copying.spec import Part, Place, Plan, Query, Report
from valhalla.kit.db import Database
from valhalla.kit.json import dumps
from valhalla.kit.log import get_logger

log = get_logger("exports")
_TELL: Final = 1.0
_SOON: Final = ("away", "busy")
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "no-room": ("export-disk-full", "there is no room for the files"),
    "too-large": ("export-too-large", "the files would be larger than export_max_mb allows"),
    "missing-library": ("export-library-missing", "the extra 'parquet' is not installed"),
    "refused": ("export-refused", "the database refused the query"),
    "away": ("backend-unavailable", "Postgres cannot be reached"),
    "busy": ("export-busy", "another process writes the same files"),
    "lost": ("export-files-lost", "the files are not there any more"),
}
Progress = Callable[..., None]


class Dumps(Protocol):
    """Who can write down what a sandbox holds; it stands above the features."""

    async def dump(self, actor: str, owner: str, reference: str, target: Path) -> tuple[int, int]:
        """Write a dump, as text that nobody runs here; return its rows and bytes.

        Raises:
            Problem: there is no such sandbox of this owner, or it cannot be copied.
        """
        ...


class Runner:
    """Makes exports. One that was interrupted goes on where its files are known to be good."""

    def __init__(
        self,
        db: Database,
        life: Life,
        local: Local,
        bucket: Callable[[], Bucket | None],
        *,
        most_bytes: int,
        copy: Callable[[Plan], Any] = copying,
    ) -> None:
        """``copy`` does a plan and yields its reports."""
        self._db = db
        self._life = life
        self._local = local
        self._bucket = bucket
        self._most = most_bytes
        self._copy = copy
        self.dumps: Dumps | None = None

    async def execute(self, id_: str, *, progress: Progress = lambda *_, **__: None, last_attempt: bool = False) -> str:
        """Make an export and return its status; a failure that may be over soon is raised.

        Raises:
            Unavailable: the database or the storage is away; the same call again goes on.
        """
        export = await self._db.run(self._life.run, id_)
        if export is None:
            return "over"
        try:
            return await self._make(export, progress)
        except _FailedError as failed:
            return await self._fail(export, failed.code, failed.detail)
        except Problem as problem:
            if problem.status < 500:
                return await self._fail(export, problem.code, problem.detail)
            if last_attempt:
                await self._fail(export, problem.code, problem.detail)
            raise

    async def _make(self, export: Export, progress: Progress) -> str:
        folder = await asyncio.to_thread(self._folder, export.id)
        files, types = await (self._dump if export.query is None else self._rows)(export, folder, progress)
        manifest = rules.manifest(export, files, export.columns, types)
        data = dumps(manifest) + b"\n"
        await asyncio.to_thread(self._write, export.id, data)
        bucket = self._bucket()
        if export.store == "s3" and bucket is not None:
            # the manifest comes last: where it is, everything is
            await bucket.upload(folder, export.id, [*(file.name for file in files), MANIFEST])
            await asyncio.to_thread(self._local.clear, export.id)
        digest = hashlib.sha256(data).hexdigest()
        values = {
            "files": [msgspec.to_builtins(file) for file in files],
            "rows": manifest["rows"],
            "written": manifest["bytes"],
        }
        try:
            await self._db.run(self._life.complete, export, manifest, digest, **values)
        except Problem as problem:
            if problem.status != 409:
                raise
            # somebody ended it in the last moment
            await self._clear(export, [*(file.name for file in files), MANIFEST])
            return "over"
        return "completed"

    def _folder(self, id_: str) -> Path:
        try:
            return self._local.make(id_)
        except OSError as error:
            raise _FailedError("export-no-folder", f"the folder cannot be made: {error.strerror}") from error

    def _write(self, id_: str, data: bytes) -> None:
        try:
            self._local.write(id_, MANIFEST, data)
        except OSError as error:
            raise _FailedError(*_WORDS["no-room"]) from error

    async def _rows(self, export: Export, folder: Path, progress: Progress) -> tuple[list[File], list[str]]:
        assert export.query is not None
        stored = dict(export.query)
        types = cast("list[str]", stored.pop("types"))
        sizes = {name: stored.pop(name) for name in ("chunk_rows", "part_rows", "group_rows") if name in stored}
        place = Place() if export.place is None else msgspec.convert(export.place, Place)
        if place.parts and place.key is None:
            # all was written, and only the end was not noted
            return [_file(part) for part in place.parts], types
        plan = Plan(
            dsn=self._db.dsn,
            folder=str(folder),
            stem=rules.stem(export.source, export.id),
            format=cast("Any", export.format),
            compression=export.compression,
            names=tuple(export.columns),
            types=tuple(types),
            query=msgspec.convert(stored, Query),
            most_bytes=self._most,
            place=place,
            **sizes,
        )
        parts: tuple[Part, ...] = ()
        told = 0.0
        reports = self._copy(plan)
        try:
            async for report in reports:
                if report.fault is not None:
                    await self._judge(export, report)
                now = asyncio.get_running_loop().time()
                parts = parts if report.place is None else report.place.parts
                if report.place is not None or now - told > _TELL:
                    await self._note(export, report, tell=now - told > _TELL)
                    told = now if now - told > _TELL else told
                    progress(_fraction(export, report), "copying", rows=report.rows, bytes=report.written)
        finally:
            await reports.aclose()
        return [_file(part) for part in parts], types

    async def _note(self, export: Export, report: Report, *, tell: bool) -> None:
        values: dict[str, Any] = {"rows": report.rows, "read": report.read, "written": report.written}
        if report.place is not None:
            values["place"] = msgspec.to_builtins(report.place)

        def work(conn: Any) -> bool:
            going = store.note(conn, export.id, **values)
            if going and tell and not report.done:
                found = store.find(conn, export.id)
                assert found is not None
                self._life.tell(conn, found, "export.progress")
            return going

        if not await self._db.run(work):
            raise _FailedError("export-over", "it was ended meanwhile")

    async def _judge(self, export: Export, report: Report) -> None:
        assert report.fault is not None
        code, words = _WORDS[report.fault]
        log.warning("an export met a fault", export=export.id, fault=report.fault, detail=report.detail)
        if report.fault == "lost":
            # another machine wrote them, or somebody tidied: from the beginning
            await self._db.run(store.note, export.id, place=None, rows=0, read=0, written=0)
            await asyncio.to_thread(self._local.clear, export.id)
        if report.fault in (*_SOON, "lost"):
            raise Unavailable("postgres", words, retry_after=1.0)
        raise _FailedError(code, f"{words}: {report.detail}" if report.fault == "refused" else words)

    async def _dump(self, export: Export, folder: Path, progress: Progress) -> tuple[list[File], list[str]]:
        if self.dumps is None:
            raise _FailedError("export-unknown-source", "sandboxes cannot be dumped here")
        reference = export.source.partition(":")[2]
        name = f"{rules.stem(export.source, export.id)}.sql"
        path = folder / name
        await asyncio.to_thread(path.unlink, missing_ok=True)
        progress(None, "dumping")
        try:
            rows, size = await self.dumps.dump(export.actor, export.owner, reference, path)
        except OSError as error:
            raise _FailedError(*_WORDS["no-room"]) from error
        return [File(name, rows, size, await asyncio.to_thread(_digest, path))], []

    async def _fail(self, export: Export, code: str, detail: str) -> str:
        try:
            await self._db.run(
                self._life.end, export.id, "failed", export.actor, {"code": code, "detail": detail[:500]}
            )
        except Problem as problem:
            if problem.status != 409:
                raise
        await self._clear(export, [])
        return "failed"

    async def _clear(self, export: Export, uploaded: list[str]) -> None:
        await asyncio.to_thread(self._local.clear, export.id)
        bucket = self._bucket()
        if export.store == "s3" and bucket is not None and uploaded:
            await bucket.clear(export.id, uploaded)


def _file(part: Part) -> File:
    return File(part.name, part.rows, part.bytes, part.sha256)


def _fraction(export: Export, report: Report) -> float | None:
    return None if not export.estimate else min(0.99, report.rows / export.estimate)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _FailedError(Exception):
    """The export cannot be made, now or later."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
