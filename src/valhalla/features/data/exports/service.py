"""The use cases of exports: ask for one, look at it, end it, fetch its files."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.data.exports import rules, store
from valhalla.features.data.exports.contracts import LIFECYCLE, Compression, Draft, Export, Format
from valhalla.features.data.exports.errors import BadExport, ExportElsewhere, ExportNotFound, ExportNotReady
from valhalla.features.data.exports.life import Life
from valhalla.features.data.exports.signing import Signer
from valhalla.features.data.exports.sources import Sources
from valhalla.features.data.exports.storage import MANIFEST, Bucket, Local
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import Principal
from valhalla.kernel.scopes import ADMIN
from valhalla.kit import paging
from valhalla.kit.db import Database
from valhalla.kit.redact import text
from valhalla.work import Jobs, cancel, submit
from valhalla.work.errors import NoSuchJob

READ: Final = "exports:read"
WRITE: Final = "exports:write"
JOB: Final = "valhalla.export"
LONGEST_LINK: Final = timedelta(days=7)


class ExportService:
    """Exports of one control plane. Who may not read a source anywhere else cannot export it, nor fetch such files."""

    def __init__(
        self,
        db: Database,
        jobs: Jobs,
        sources: Sources,
        life: Life,
        *,
        clock: Clock,
        signer: Signer,
        local: Local,
        bucket: Callable[[], Bucket | None],
        registries: Callable[[], Sequence[str]],
    ) -> None:
        self._db = db
        self._jobs = jobs
        self._sources = sources
        self._life = life
        self._clock = clock
        self._signer = signer
        self._local = local
        self._bucket = bucket
        self._registries = registries

    def sources(self, principal: Principal) -> Mapping[str, str]:
        """Return what can be exported, with the scope that it needs."""
        principal.require(READ)
        return self._sources.names(self._registries())

    async def request(self, principal: Principal, draft: Draft) -> Export:
        """Have an export made by a job.

        Raises:
            Forbidden: the key may not read the source, or not without masks.
            UnknownSource, BadExport, Invalid: there is nothing to export like this.
        """
        principal.require(WRITE)
        return await self._db.run(self._request, principal, draft, with_job=True, expires=True)

    async def archive(self, principal: Principal, draft: Draft) -> Export:
        """Write down an export that the caller makes itself, and whose files stay until somebody removes them."""
        return await self._db.run(self._request, principal, draft, with_job=False, expires=False)

    def _request(
        self, conn: Connection, principal: Principal, draft: Draft, *, with_job: bool, expires: bool
    ) -> Export:
        source = self._sources.find(conn, draft.source)
        principal.require(source.scope)
        if draft.profile == "none":
            # what is masked by default an admin alone sees
            principal.require(ADMIN)
        now = self._clock.now()
        if draft.since is not None and draft.since > (draft.until or now):
            raise BadExport("it ends before it begins", errors=[{"pointer": "/until", "detail": "before since"}])
        chosen, compression = rules.form(draft, source)
        _check_libraries(chosen, compression)
        until = draft.until
        if source.relation is not None and source.relation.clock is not None and until is None:
            # what comes while it runs belongs to the next one; a resumed one ends where it would have ended
            until = now
        values: dict[str, Any] = {
            "id": new_id(),
            "source": source.name,
            "format": chosen,
            "compression": compression,
            "profile": draft.profile,
            "columns": list(draft.columns),
            "conditions": msgspec.to_builtins(draft.conditions),
            "since": draft.since,
            "until": until,
            "status": LIFECYCLE.initial,
            "actor": principal.id,
            "owner": principal.owner,
            "scope": ADMIN if draft.profile == "none" else source.scope,
            "reason": None if draft.reason is None else text(draft.reason),
            "store": "local" if self._bucket() is None else "s3",
            "created_at": now,
            "expires_at": now + timedelta(days=3650) if expires else None,
        }
        if source.relation is not None:
            salt = secrets.token_hex(16) if draft.profile == "strict" else None
            compiled = rules.compile_query(source.relation, draft, chosen, until, salt)
            rows, width = store.estimate(conn, compiled.query)
            values["estimate"] = rows
            values["columns"] = list(compiled.names)
            values["query"] = {
                **msgspec.to_builtins(compiled.query),
                "types": list(compiled.types),
                **rules.sizes(chosen, width),
            }
        made = store.insert(conn, values)
        self._life.begin(conn, made, principal.id)
        if with_job:
            job = submit(conn, self._jobs, JOB, {"export": made.id}, dedup_key=made.id)
            store.link_job(conn, made.id, job.id)
        return made

    async def get(self, principal: Principal, id_: str) -> Export:
        """Return one.

        Raises:
            ExportNotFound: there is none, or it is of what the key may not read.
        """
        principal.require(READ)
        found = await self._db.read(store.find, id_)
        if found is None or not _may_see(principal, found):
            raise ExportNotFound(f"no export has the id {id_[:64]!a}")
        return found

    async def page(
        self,
        principal: Principal,
        *,
        status: str | None = None,
        source: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> paging.Page[Export]:
        """Return exports, the newest first; pages of keys that may not read some sources may be shorter.

        Raises:
            Invalid: the cursor was not made here.
        """
        principal.require(READ)
        found = await paging.newest(
            lambda before, size: self._db.read(store.page, status=status, source=source, before=before, limit=size),
            lambda export: (export.created_at, export.id),
            limit=limit,
            cursor=cursor,
        )
        return paging.Page([one for one in found.items if _may_see(principal, one)], found.next)

    async def cancel(self, principal: Principal, id_: str) -> Export:
        """End one that is not finished; its files go.

        Raises:
            ExportNotFound, IllegalTransition: there is none, or it is finished.
        """
        principal.require(WRITE)
        found = await self.get(principal, id_)

        def work(conn: Connection) -> Export:
            ended = self._life.end(conn, found.id, "cancelled", principal.id)
            if found.job is not None:
                with contextlib.suppress(NoSuchJob):
                    cancel(conn, found.job)
            return ended

        ended = await self._db.run(work)
        # a process that still writes there notices with its next piece, and clears once more
        await asyncio.to_thread(self._local.clear, ended.id)
        return ended

    async def links(self, principal: Principal, id_: str, lasting: timedelta) -> tuple[datetime, Mapping[str, str]]:
        """Return until when, and under which addresses, everybody who has them can fetch the files.

        Raises:
            ExportNotFound, ExportNotReady: there are none.
            StorageAway: the storage does not answer.
        """
        export = _ready(await self.get(principal, id_))
        now = self._clock.now()
        names = [*(file.name for file in export.files), MANIFEST]
        bucket = self._bucket()
        if export.store == "s3" and bucket is not None:
            found = {name: await bucket.link(export.id, name, lasting) for name in names}
        else:
            found = {name: self._signer.path(export.id, name, now, lasting) for name in names}
        await self._db.run(self._life.note, principal.id, "links_made", export.id, until=(now + lasting).isoformat())
        return now + lasting, found

    async def file(self, principal: Principal, id_: str, name: str) -> Path | str:
        """Return a file, or where the storage gives it out.

        Raises:
            ExportNotFound, ExportNotReady, ExportElsewhere: there is none.
        """
        export = _ready(await self.get(principal, id_))
        return await self._file(export, name, principal.id)

    async def linked(self, id_: str, name: str, expires: int, signature: str) -> Path | str:
        """Return the file of an address that ``links`` gave.

        Raises:
            BadSignature: the address is not valid, or not any more.
            ExportNotReady, ExportElsewhere: the file is not there any more.
        """
        self._signer.check(id_, name, expires, signature, self._clock.now())
        found = await self._db.read(store.find, id_)
        if found is None:
            raise ExportNotFound(f"no export has the id {id_[:64]!a}")
        return await self._file(_ready(found), name, "link")

    async def _file(self, export: Export, name: str, actor: str) -> Path | str:
        if name != MANIFEST and name not in {file.name for file in export.files}:
            raise ExportNotFound(f"the export has no file {name[:100]!a}")
        bucket = self._bucket()
        if export.store == "s3" and bucket is not None:
            return await bucket.link(export.id, name, timedelta(minutes=5))
        path = self._local.folder(export.id) / name
        if not await asyncio.to_thread(path.is_file):
            raise ExportElsewhere
        await self._db.run(self._life.note, actor, "downloaded", export.id, file=name)
        return path


def _may_see(principal: Principal, export: Export) -> bool:
    if not principal.allows(export.scope):
        return False
    # what a sandbox holds is its owner's
    return principal.is_admin or not export.source.startswith("sandbox:") or export.owner == principal.owner


def _ready(export: Export) -> Export:
    if export.status != "completed" or export.removed_at is not None:
        state = "its files have been removed" if export.removed_at is not None else f"it is {export.status}"
        raise ExportNotReady(state, current=export.status)
    return export


def _check_libraries(chosen: Format, compression: Compression) -> None:
    wanted = ["pyarrow"] if chosen == "parquet" or compression == "zstd" else []
    wanted += ["adbc_driver_postgresql"] if chosen == "parquet" else []
    if any(find_spec(each) is None for each in wanted):
        raise BadExport(
            "Parquet and zstd need the extra 'parquet' of the control plane",
            help="Install it there: pip install 'valhalla[parquet]'; or take csv or jsonl with gzip.",
        )
