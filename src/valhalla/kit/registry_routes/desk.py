"""The writes that a registry's routes make, each one transaction: read, decide, write, look at what changes."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy.engine import Connection

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import NotFound, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.http import WireModel
from valhalla.kit.registry import Change, Delete, Op, Put, Record
from valhalla.kit.registry_routes.errors import AlreadyExists
from valhalla.kit.registry_routes.face import Face
from valhalla.kit.registry_routes.matching import Conditions
from valhalla.kit.registry_routes.merging import merge

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Writing:
    """Who writes and why; with ``dry_run`` nothing is written."""

    principal: Principal
    reason: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """What one write of one record did."""

    change: Change
    record: Record[T]
    created: bool


class Desk(Generic[T]):
    """Writes one registry. After a write this process's snapshot is up to date."""

    def __init__(self, face: Face[T], db: Database, settle: Callable[[], Awaitable[None]]) -> None:
        self._face = face
        self._registry = face.registry
        self._db = db
        self._settle = settle

    async def create(self, key: str, model: WireModel, writing: Writing) -> Written[T]:
        """Make a record whose key is free.

        Raises:
            AlreadyExists: it is not.
            Invalid: key or value are refused.
        """
        self._face.check_key(key)

        def work(conn: Connection) -> Written[T]:
            before = self._before(conn, key, writing)
            if before is not None:
                noun = self._face.noun
                raise AlreadyExists(f"there already is a {noun} '{key}'", key=key, version=before.version)
            return self._put(conn, key, model, None, writing)

        return await self._run(work, writing)

    async def put(self, key: str, model: WireModel, conditions: Conditions, writing: Writing) -> Written[T]:
        """Create or replace a record.

        Raises:
            PreconditionFailed, PreconditionRequired: as the conditions say.
            Invalid: key or value are refused.
        """
        self._face.check_key(key)

        def work(conn: Connection) -> Written[T]:
            before = self._checked(conn, key, conditions, writing)
            return self._put(conn, key, model, before, writing)

        return await self._run(work, writing)

    async def patch(self, key: str, patch: dict[str, Any], conditions: Conditions, writing: Writing) -> Written[T]:
        """Change members of a record.

        Raises:
            NotFound: there is none.
            PreconditionFailed, PreconditionRequired, Invalid: as ``put``.
        """

        def work(conn: Connection) -> Written[T]:
            before = self._checked(conn, key, conditions, writing)
            if before is None:
                raise self._face.absent(key)
            model = self._face.parse(merge(self._face.members(before.value), patch))
            return self._put(conn, key, model, before, writing)

        return await self._run(work, writing)

    async def delete(self, key: str, conditions: Conditions, writing: Writing) -> Change:
        """Remove a record.

        Raises:
            NotFound: there is none.
            PreconditionFailed, PreconditionRequired: as the conditions say.
        """

        def work(conn: Connection) -> Change:
            if self._checked(conn, key, conditions, writing) is None:
                raise self._face.absent(key)
            return self._write(conn, [Delete(key)], writing)[0]

        return await self._run(work, writing)

    async def bulk(self, operations: Sequence[Any], writing: Writing) -> list[Change]:
        """Do all operations or none.

        Raises:
            NotFound, PreconditionFailed, Invalid: one is refused; the problem names the key.
        """

        def work(conn: Connection) -> list[Change]:
            if not writing.dry_run:
                self._registry.lock(conn)
            values: dict[str, T | None] = {}
            ops: list[Op[T]] = []
            for operation in operations:
                key: str = getattr(operation, self._face.key)
                if operation.op == "delete":
                    values[key] = None
                    ops.append(Delete(key, operation.if_version))
                    continue
                self._face.check_key(key)
                if key not in values:
                    found = self._registry.find(conn, key)
                    values[key] = None if found is None else found.value
                values[key] = value = self._face.value(key, operation.value, values[key], writing.principal)
                ops.append(Put(key, value, operation.if_version))
            return self._write(conn, ops, writing)

        return await self._run(work, writing)

    async def rollback(self, to_revision: int, key: str | None, writing: Writing) -> list[Change]:
        """Bring back the records, or that of one key, as they were at a revision.

        Raises:
            NotFound, Conflict: history does not have that revision.
            Invalid: a record of then is not valid any more.
        """

        def work(conn: Connection) -> list[Change]:
            if key is not None and not self._registry.history(conn, key, limit=1).items:
                raise self._face.absent(key)
            changes = self._registry.rollback(
                conn, to_revision, key=key, actor=writing.principal.id, reason=writing.reason, dry_run=writing.dry_run
            )
            self._look(conn, changes, writing)
            return changes

        return await self._run(work, writing)

    def _before(self, conn: Connection, key: str, writing: Writing) -> Record[T] | None:
        # the lock comes first: what is read now is what will be written over
        if not writing.dry_run:
            self._registry.lock(conn)
        return self._registry.find(conn, key)

    def _checked(self, conn: Connection, key: str, conditions: Conditions, writing: Writing) -> Record[T] | None:
        before = self._before(conn, key, writing)
        version = None if before is None else before.version
        conditions.require(key, version, needed=self._face.needs_match)
        return before

    def _put(
        self, conn: Connection, key: str, model: WireModel, before: Record[T] | None, writing: Writing
    ) -> Written[T]:
        value = self._face.value(key, model, None if before is None else before.value, writing.principal)
        change = self._write(conn, [Put(key, value)], writing)[0]
        if before is None:
            return Written(change, Record(key, value, change.revision, change.at, change.at), created=True)
        if not change.changed:
            return Written(change, before, created=False)
        return Written(change, Record(key, value, change.revision, before.created_at, change.at), created=False)

    def _write(self, conn: Connection, ops: Sequence[Op[T]], writing: Writing) -> list[Change]:
        try:
            changes = self._registry.bulk(
                conn, ops, actor=writing.principal.id, reason=writing.reason, dry_run=writing.dry_run
            )
        except NotFound as problem:
            raise self._face.absent(str(problem.extra.get("key", ""))) from problem
        self._look(conn, changes, writing)
        return changes

    def _look(self, conn: Connection, changes: Sequence[Change], writing: Writing) -> None:
        changed = [change for change in changes if change.changed]
        if self._face.check is not None and changed:
            self._face.check(conn, writing.principal, changed)

    async def _run(self, work: Callable[[Connection], Any], writing: Writing) -> Any:
        done = await self._db.run(work)
        if not writing.dry_run:
            # what is committed stays, and the feed catches up by itself
            with contextlib.suppress(Unavailable):
                await self._settle()
        return done
