"""The use cases of snapshots: who may make, see, replace and remove one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy.engine import Connection

from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Unavailable
from valhalla.kit import notices
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.sqlstates import is_away
from valhalla.sandbox import rules
from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.errors import SnapshotFailed, SnapshotNotFound, TemplateTaken
from valhalla.sandbox.service import SandboxService
from valhalla.sandbox.snapshots.copying import Copied, copy
from valhalla.sandbox.teardown import emit
from valhalla.sandbox.templates import SnapshotInfo, Snapshots

# each holds a row or two in memory and reads as fast as it can
_AT_ONCE: Final = 2
_PATIENCE: Final = 300.0


class SnapshotService:
    """Makes templates from sandboxes. One per control plane process."""

    def __init__(
        self, db: Database, ledger: Ledger, sandboxes: SandboxService, snapshots: Snapshots, *, most: int, clock: Clock
    ) -> None:
        """``most``: how many bytes of rows one snapshot may hold."""
        self._db = db
        self._ledger = ledger
        self._sandboxes = sandboxes
        self._snapshots = snapshots
        self._most = most
        self._clock = clock
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._publishing = asyncio.Lock()

    async def take(self, principal: Principal, reference: str, name: str, *, replace: bool = False) -> SnapshotInfo:
        """Copy what a running sandbox's Postgres slice holds now into a template of this name.

        Raises:
            Invalid: the name is none.
            SandboxNotFound, NotRunning, SliceMissing: there is nothing to copy.
            TemplateTaken: another template has the name, or a snapshot that is not to be replaced by this principal.
            SnapshotUnsupported, SnapshotTooLarge, SnapshotFailed: it cannot be copied; nothing was made.
            Unavailable: Postgres cannot be reached.
        """
        rules.check_template(name, "/template")
        sandbox = await self._sandboxes.get(principal, reference)
        self._sandboxes.must_run(sandbox, having="postgres")
        await asyncio.to_thread(self._may_take, principal, name, replace=replace)
        async with self._turns:
            await asyncio.to_thread(self._snapshots.sweep)
            with self._snapshots.draft() as folder:
                copied = await self._copy(sandbox, folder)
                info = SnapshotInfo(
                    name=name,
                    owner=sandbox.owner,
                    sandbox=sandbox.id,
                    template=sandbox.template,
                    isolation=sandbox.names.isolation,
                    made_by=principal.id,
                    made_at=self._clock.now(),
                    version=folder.name,
                    tables=copied.tables,
                    rows=copied.rows,
                    size=copied.size,
                )
                async with self._publishing:
                    # somebody may have taken the name meanwhile
                    await asyncio.to_thread(self._may_take, principal, name, replace=replace)
                    await asyncio.to_thread(self._snapshots.publish, info)
        await self._db.run(self._record, principal, sandbox, info)
        return info

    async def write(self, principal: Principal, reference: str, folder: Path) -> Copied:
        """Write what a running sandbox's Postgres slice holds now into a folder, for who makes something else of it.

        Raises:
            SandboxNotFound, NotRunning, SliceMissing: there is nothing to copy.
            SnapshotUnsupported, SnapshotTooLarge, SnapshotFailed: it cannot be copied.
            Unavailable: Postgres cannot be reached.
        """
        sandbox = await self._sandboxes.get(principal, reference)
        self._sandboxes.must_run(sandbox, having="postgres")
        async with self._turns:
            return await self._copy(sandbox, folder)

    async def list(self) -> Sequence[SnapshotInfo]:
        """Return every snapshot, by name."""
        return await asyncio.to_thread(self._all)

    async def remove(self, principal: Principal, name: str) -> None:
        """Remove a snapshot; sandboxes that were made from it stay as they are, but cannot be reset to it.

        Raises:
            SnapshotNotFound: there is none of this name for this principal.
        """
        info = await asyncio.to_thread(self._snapshots.info, name) if rules.TEMPLATE.fullmatch(name) else None
        if info is None or not self._owns(principal, info):
            raise SnapshotNotFound(f"no snapshot of yours is called '{name[:64]}'")
        await asyncio.to_thread(self._snapshots.remove, name)
        details = {"version": info.version, "sandbox": info.sandbox}
        await self._db.run(self._note_removal, principal.id, name, details)

    def _note_removal(self, conn: Connection, actor: str, name: str, details: Mapping[str, Any]) -> None:
        self._ledger.append(conn, actor=actor, action="removed", kind="template", subject=name, details=details)
        notices.tell(conn, notices.TEMPLATES)

    def _all(self) -> list[SnapshotInfo]:
        infos = (self._snapshots.info(name) for name in self._snapshots.names())
        return [info for info in infos if info is not None]

    def _may_take(self, principal: Principal, name: str, *, replace: bool) -> None:
        if name in self._sandboxes.templates.fixed():
            raise TemplateTaken(f"'{name}' is a template that is no snapshot", template=name)
        info = self._snapshots.info(name)
        if info is not None and not (replace and self._owns(principal, info)):
            raise TemplateTaken(f"there is a snapshot '{name}'", template=name)

    def _owns(self, principal: Principal, info: SnapshotInfo) -> bool:
        return principal.is_admin or info.owner == principal.owner

    async def _copy(self, sandbox: Sandbox, folder: Any) -> Copied:
        try:
            async with asyncio.timeout(_PATIENCE):
                connection = await self._sandboxes.backends.postgres.login(sandbox.names)
                try:
                    return await copy(connection, sandbox.names.schema, folder, most=self._most)
                finally:
                    with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                        await connection.close(timeout=2)
        except TimeoutError as error:
            raise SnapshotFailed(f"it took longer than {_PATIENCE:g} s") from error
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
            ValueError,
        ) as error:
            if is_away(error):
                raise Unavailable("postgres", "the sandboxes' Postgres cannot be reached") from error
            raise SnapshotFailed(str(error)[:500]) from error

    def _record(self, conn: Connection, principal: Principal, sandbox: Sandbox, info: SnapshotInfo) -> None:
        details = {"template": info.name, "version": info.version, "tables": info.tables, "rows": info.rows}
        self._ledger.append(
            conn, actor=principal.id, action="snapshot_taken", kind="sandbox", subject=sandbox.id, details=details
        )
        emit(conn, sandbox, "sandbox.snapshot_taken", template=info.name)
        notices.tell(conn, notices.TEMPLATES)
