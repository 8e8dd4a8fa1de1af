"""Where the memory store's rows are: by key, by id, and gone when their time is over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count, islice
from typing import Final

from valhalla.guard.contracts import OPEN, Page, Scan
from valhalla.guard.journal import BATCH, Journal
from valhalla.guard.stores.rows import Row

Table = dict[str, Row]

# so many rows in a row that are not old yet end a purge of their table
_YOUNG: Final = 8
_WAITED_FOR: Final = ("executing", "held", "approved")


class Shelf:
    """Rows and how to find them. Changes are made under ``_lock``; the fused path only adds keys."""

    clock: Callable[[], float]
    offset: float
    journal: Journal

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._tables: dict[str, Table] = {}
        # rows that somebody may ask for by id: all but those that went straight through
        self._index: dict[str, Row] = {}
        self._numbers = count(1)
        self._since_purge = self._rows_at_purge = 0

    def table(self, name: str) -> Table:
        """Return the rows of one action by key; the same object for ever."""
        return self._tables.setdefault(name, {})

    def find(self, id_: str) -> Row | None:
        """Return the row of this id. Only rows that went straight through are searched for."""
        if (row := self._index.get(id_)) is not None:
            return row
        for table in list(self._tables.values()):
            for row in list(table.values()):
                if row.id == id_:
                    return row
        return None

    def adopt(self, row: Row) -> None:
        """Let a row of the fused path be found by its id: somebody may have to settle it."""
        with self._lock:
            self._put(row)

    def _put(self, row: Row) -> None:
        """Let a row be found by its id, behind all others."""
        if self._index.get(row.id) is not row:
            self._index.pop(row.id, None)
            row.number = next(self._numbers)
            self._index[row.id] = row

    def scan(self, query: Scan) -> Page:
        """Read rows or ledger lines."""
        with self._lock:
            now = self.clock()
            if query.kind == "ledger":
                lines = self.journal.lines(query.after, query.limit)
                cursor = lines[-1].seq if len(lines) == query.limit else None
                return Page(now + self.offset, lines=lines, cursor=cursor)
            if query.kind == "id":
                row = self.find(query.id or "")
                return Page(now + self.offset, () if row is None else (row.record(self.offset, now),))
            if query.kind == "key":
                row = self.table(query.name or "").get(query.key or "")
                found = () if row is None or row.gone(now) else (row.record(self.offset, now),)
                return Page(now + self.offset, found)
            after, size = query.after or 0, query.limit
            if query.kind == "all":
                rows = list(islice((row for row in self._all() if _matches(row, query, now)), after, after + size))
                cursor = after + size
            else:
                # what lapses or waits is found by its id; its number stays, whatever leaves the list meanwhile
                found = (row for row in self._index.values() if row.number > after and _matches(row, query, now))
                rows = list(islice(found, size))
                cursor = rows[-1].number if rows else None
            records = tuple(row.record(self.offset, now) for row in rows)
            return Page(now + self.offset, records, cursor=cursor if len(rows) == size else None)

    def _all(self) -> list[Row]:
        seen = {id(row): row for row in self._index.values()}
        for table in list(self._tables.values()):
            seen.update({id(row): row for row in list(table.values())})
        return sorted(seen.values(), key=lambda row: row.created_at)

    def tick(self) -> None:
        """Write a batch of ledger lines, and now and then drop what is too old, so that memory stays bounded.

        The pause between purges grows with the rows: what is looked at per call stays the same at any number.
        """
        self.journal.drain()
        self._since_purge += BATCH
        if self._since_purge >= max(4 * BATCH, self._rows_at_purge // 8):
            self._since_purge = 0
            self._rows_at_purge = sum(map(len, list(self._tables.values())))
            self.purge(self._rows_at_purge // 4 + 4 * BATCH)

    def purge(self, limit: int = 1000) -> int:
        """Remove rows past ``keep_until`` and results past ``value_until``; return how many were touched."""
        touched = 0
        with self._lock:
            now = self.clock()
            for table in list(self._tables.values()):
                young = 0
                for key in _oldest(table, limit):
                    row = table[key]
                    if row.gone(now):
                        del table[key]
                        self._index.pop(row.id, None)
                        touched += 1
                    elif row.value is not None and (until := row.value_until) is not None and until <= now:
                        row.value = None
                        touched += 1
                    elif row.state == "succeeded" and (young := young + 1) == _YOUNG:
                        # of one action all rows live equally long, so the oldest come first
                        break
            for row in list(islice(self._index.values(), limit)):
                # rows that another has replaced are found by their id until their own time is over
                if row.gone(now) and (row.key is None or self.table(row.cold.name).get(row.key) is not row):
                    del self._index[row.id]
                    touched += 1
        return touched

    def wait(self, row_id: str, seconds: float) -> None:
        """Wait until the row changes its state, at most ``seconds``."""
        with self._lock:
            row = self.find(row_id)
            if row is None or row.state not in _WAITED_FOR:
                return
            waiter = row.waiter = row.waiter or threading.Event()
            # the fused finish writes the state, then reads the waiter
            if row.state not in _WAITED_FOR:
                return
        waiter.wait(seconds)


def _oldest(table: Table, limit: int) -> list[str]:
    """Return the oldest keys. The fused path adds keys meanwhile without the lock."""
    while True:
        try:
            # keys, not items: no object is made on the way, so no other thread runs in between
            return list(islice(table, limit))
        except RuntimeError:
            continue


def _matches(row: Row, query: Scan, now: float) -> bool:  # noqa: PLR0911 - one line per kind of scan
    if query.name is not None and row.cold.name != query.name:
        return False
    if query.principal is not None and row.principal != query.principal:
        return False
    match query.kind:
        case "open":
            return row.state in OPEN
        case "approved":
            return row.state == "approved"
        case "overdue":
            return row.state in OPEN and row.cold.expires_at is not None and row.cold.expires_at <= now
        case "lapsed":
            return row.state == "executing" and row.lease_until <= now
        case "indeterminate":
            return row.state == "indeterminate"
        case _:
            return True
