"""One registry: typed records, every write numbered, explained and undoable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy.engine import Connection, RowMapping

from valhalla.kernel.problems import NotFound
from valhalla.kit import paging
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import correlation_id as current_correlation
from valhalla.kit.registry import store, timeline
from valhalla.kit.registry.apply import apply
from valhalla.kit.registry.codec import Codec, is_key
from valhalla.kit.registry.contracts import Change, Delete, Difference, Op, Put, Record, Search
from valhalla.kit.registry.plan import Edit, Why

T = TypeVar("T", bound=msgspec.Struct)


class Registry(Generic[T]):
    """Records of the frozen struct ``type_`` under ``name``. All methods run in the caller's transaction."""

    def __init__(
        self, name: str, type_: type[T], ledger: Ledger, *, validate: Callable[[T], None] | None = None
    ) -> None:
        """``validate`` raises ``Invalid`` for a value that must not be stored."""
        self.name = name
        self.type = type_
        self._ledger = ledger
        self._codec = Codec(name, type_, validate)

    def put(
        self,
        conn: Connection,
        key: str,
        value: T,
        *,
        actor: str,
        expect_version: int | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Change:
        """Create or replace a record; the same body again changes nothing.

        Raises:
            Invalid: ``validate`` or the type refuses the value.
            PreconditionFailed: the record is not at ``expect_version`` (0: must not exist).
        """
        return self.bulk(conn, [Put(key, value, expect_version)], actor=actor, reason=reason, dry_run=dry_run)[0]

    def delete(
        self,
        conn: Connection,
        key: str,
        *,
        actor: str,
        expect_version: int | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Change:
        """Remove a record; its history stays.

        Raises:
            NotFound: there is none.
            PreconditionFailed: it is not at ``expect_version``.
        """
        return self.bulk(conn, [Delete(key, expect_version)], actor=actor, reason=reason, dry_run=dry_run)[0]

    def bulk(
        self,
        conn: Connection,
        ops: Sequence[Op[T]],
        *,
        actor: str,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> list[Change]:
        """Do all edits or none; everything is checked before the first row is written.

        Raises:
            Invalid, NotFound, PreconditionFailed: as ``put`` and ``delete``; the problem names the key.
        """
        edits: list[Edit] = []
        for op in ops:
            self._codec.check_key(op.key)
            body = self._codec.encode(op.key, op.value) if isinstance(op, Put) else None
            edits.append(Edit(op.key, body, op.expect_version))
        return self._apply(conn, edits, actor=actor, reason=reason, dry_run=dry_run)

    def find(self, conn: Connection, key: str) -> Record[T] | None:
        """Return a record, or ``None``."""
        if not is_key(key):
            return None
        rows = store.find(conn, self.name, [key])
        return self.record(rows[0]) if rows else None

    def get(self, conn: Connection, key: str) -> Record[T]:
        """Return a record.

        Raises:
            NotFound: there is none.
        """
        record = self.find(conn, key)
        if record is None:
            raise NotFound(f"there is no {self.name} '{key}'", key=key)
        return record

    def page(
        self,
        conn: Connection,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        where: Mapping[str, Any] | None = None,
        search: Search | None = None,
    ) -> paging.Page[Record[T]]:
        """Return records by key; ``where`` names members of the body and what they must equal (a list: contain).

        Raises:
            Invalid: the cursor was not made here.
        """
        size = paging.clamp(limit)
        position = paging.decode(cursor)
        after = None if position is None else paging.text(position, "key")
        rows = store.page(conn, self.name, after=after, limit=size + 1, where=where or {}, search=search)
        items = tuple(self.record(row) for row in rows[:size])
        return paging.Page(items, paging.encode({"key": items[-1].key}) if len(rows) > size else None)

    def count(
        self, conn: Connection, *, where: Mapping[str, Any] | None = None, search: Search | None = None, most: int
    ) -> int | None:
        """Return how many records ``page`` would list in all, ``None`` for more than ``most``."""
        found = store.count(conn, self.name, where=where or {}, search=search, most=most + 1)
        return None if found > most else found

    def lock(self, conn: Connection) -> int:
        """Become the only writer until the transaction ends, to read before one writes; return the revision."""
        return store.lock(conn, self.name)

    def history(
        self, conn: Connection, key: str | None = None, *, limit: int | None = None, cursor: str | None = None
    ) -> paging.Page[Change]:
        """Return changes of one key or of all, newest first.

        Raises:
            Invalid: the cursor was not made here.
        """
        size = paging.clamp(limit)
        position = paging.decode(cursor)
        before = None if position is None else paging.integer(position, "revision")
        rows = store.history(conn, self.name, key=key, before=before, limit=size + 1)
        items = tuple(timeline.change_of(row) for row in rows[:size])
        return paging.Page(items, paging.encode({"revision": items[-1].revision}) if len(rows) > size else None)

    def revision(self, conn: Connection) -> int:
        """Return the number of the newest change, 0 before the first."""
        return store.revision(conn, self.name)

    def since(self, conn: Connection, revision: int, limit: int = 1000) -> list[Change]:
        """Return up to ``limit`` changes newer than ``revision``, oldest first."""
        return [timeline.change_of(row) for row in store.since(conn, self.name, revision, limit)]

    def load(self, conn: Connection) -> tuple[int, list[Record[T]]]:
        """Return the revision and every record of it, of one moment.

        Raises:
            Misconfigured: a stored record does not fit this release's type.
        """
        revision, rows = store.load(conn, self.name)
        return revision, [self.record(row) for row in rows]

    def diff(self, conn: Connection, before: int, after: int) -> list[Difference]:
        """Return what differs between two revisions, by key.

        Raises:
            NotFound: there is no such revision yet.
            Conflict: history does not reach back that far.
        """
        timeline.require(conn, self.name, min(before, after), max(before, after), store.revision(conn, self.name))
        found = timeline.differences(conn, self.name, min(before, after), max(before, after))
        return found if before <= after else [Difference(d.key, d.after, d.before) for d in found]

    def rollback(
        self,
        conn: Connection,
        to_revision: int,
        *,
        actor: str,
        key: str | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> list[Change]:
        """Make the records (or that of one ``key``) as they were at a revision, as new changes.

        History keeps what is undone.

        Raises:
            NotFound: there is no such revision yet.
            Conflict: history does not reach back that far.
            Invalid: a record of then is not valid any more.
        """
        head = store.revision(conn, self.name) if dry_run else store.lock(conn, self.name)
        timeline.require(conn, self.name, to_revision, to_revision, head)
        edits = [
            Edit(d.key, None if d.before is None else self._codec.recheck(d.key, d.before), None)
            for d in timeline.differences(conn, self.name, to_revision, head, key)
        ]
        reason = reason or f"rollback to revision {to_revision}"
        return self._apply(conn, edits, actor=actor, reason=reason, dry_run=dry_run)

    def decode(self, key: str, body: Mapping[str, Any]) -> T:
        """Turn a stored body into the value.

        Raises:
            Misconfigured: it does not fit this release's type.
        """
        return self._codec.decode(key, body)

    def record(self, row: RowMapping) -> Record[T]:
        """Turn a row into the record."""
        value = self._codec.decode(row["key"], row["body"])
        created, updated = row["created_at"].astimezone(UTC), row["updated_at"].astimezone(UTC)
        return Record(row["key"], value, row["version"], created, updated)

    def _apply(
        self, conn: Connection, edits: Sequence[Edit], *, actor: str, reason: str | None, dry_run: bool
    ) -> list[Change]:
        why = Why(actor, reason, datetime.now(UTC), current_correlation(), dry_run)
        return apply(conn, self.name, edits, why, self._ledger)
