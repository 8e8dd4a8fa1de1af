"""Where rows are kept in tests: each place makes stores over the same rows and can let time pass for them."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any, Final

import psycopg
from tests.guard.faces import Time

from valhalla.guard import Governor, MemoryStore
from valhalla.guard.contracts import (
    BeginRequest,
    BeginResult,
    CasRequest,
    CasResult,
    Effect,
    Page,
    Scan,
    State,
    Verdict,
)
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.guard.stores.sqlite import SqliteStore

SCHEMA = "conformance"
# what moves when time passes, by table; limits count microseconds
_INSTANTS = {
    "actions": (("created_at", "updated_at", "lease_until", "expires_at", "value_until", "keep_until"), 1.0),
    "buckets": (("tat", "until"), 1e6),
    "units": (("at",), 1e6),
}


def _aging(prefix: str, seconds: float, *, limits: bool = True) -> list[str]:
    return [
        f"UPDATE {prefix}{table} SET " + ", ".join(f"{column} = {column} - {seconds * unit}" for column in columns)
        for table, (columns, unit) in _INSTANTS.items()
        if limits or table == "actions"
    ]


class MemoryPlace:
    """Dictionaries and a clock that the test moves; a governor counts."""

    durable = False

    def __init__(self) -> None:
        self.time = Time()
        self.governor = Governor(clock=self.time)
        self._store = MemoryStore(self.governor, clock=self.time)

    def make(self) -> MemoryStore:
        return self._store

    def age(self, seconds: float) -> None:
        self.time.now += seconds

    def close(self) -> None:
        self._store.close()


class SqlitePlace:
    """A file; its rows are dated back."""

    durable = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stores: list[SqliteStore] = []

    def make(self) -> SqliteStore:
        self._stores.append(SqliteStore(self.path))
        return self._stores[-1]

    def age(self, seconds: float) -> None:
        with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as db:
            for statement in _aging("", seconds):
                db.execute(statement)
            # the text holds this instant a second time
            db.execute(
                "UPDATE actions SET cold = cast(json_set(cold, '$.expires_at', expires_at) AS blob)"
                " WHERE expires_at IS NOT NULL"
            )
            db.commit()

    def close(self) -> None:
        for store in self._stores:
            store.close()


_STANDING_STILL: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE state = 'idle in transaction' AND state_change < now() - interval '2 s' AND datname <> current_database()
"""


class PostgresPlace:
    """A schema; its rows are dated back."""

    durable = True

    def __init__(self, url: str) -> None:
        self.url = url
        self._stores: list[PostgresStore] = []
        with psycopg.connect(url, autocommit=True) as conn:
            if conn.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone() == (None,):
                PostgresStore(url, schema=SCHEMA).setup()
            names = ", ".join(f"{SCHEMA}.{table}" for table in (*_INSTANTS, "lines"))
            conn.execute(f"TRUNCATE {names} RESTART IDENTITY".encode())

    def make(self) -> PostgresStore:
        self._stores.append(PostgresStore(self.url, schema=SCHEMA))
        return self._stores[-1]

    def wait_for_others(self) -> None:
        """Return when every line is told: not while any database of the server has an older transaction open.

        The event loop of other tests' control planes stands still while a test without one runs, and a transaction of
        theirs with it: the server ends it, as they must be able to bear.
        """
        hidden = f"SELECT count(*) FROM {SCHEMA}.lines WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())"
        deadline = time.monotonic() + 30
        with psycopg.connect(self.url, autocommit=True) as conn:
            while conn.execute(hidden.encode()).fetchone() != (0,):
                assert time.monotonic() < deadline
                conn.execute(_STANDING_STILL)
                time.sleep(0.01)

    def age(self, seconds: float) -> None:
        with psycopg.connect(self.url) as conn:
            for statement in _aging(f"{SCHEMA}.", seconds):
                conn.execute(statement.encode())

    def close(self) -> None:
        for store in self._stores:
            store.close()


class Verbs:
    """The verbs of a place, called from a thread or on a loop; rows in any state."""

    def __init__(self, place: Any, *, is_async: bool) -> None:
        self.place = place
        self.store = place.make()
        self.is_async = is_async
        self._ids = iter(range(10_000))
        self._loop = asyncio.Runner() if is_async else None

    def _do(self, name: str, argument: Any) -> Any:
        if self._loop is None:
            return getattr(self.store, name)(argument)
        return self._loop.run(getattr(self.store, f"a{name}")(argument))

    def request(self, **fields: Any) -> BeginRequest:
        """Return a request; without an id of its own it gets a new one."""
        defaults: dict[str, Any] = {
            "id": f"id-{next(self._ids)}",
            "name": "payment",
            "effect": Effect.IRREVERSIBLE,
            "key": "k",
            "fingerprint": b"\x00one",
            "principal": "ana",
            "tombstone": 1000.0,
        }
        fields["verdict"] = Verdict(fields.get("verdict", "run"))
        return BeginRequest(**(defaults | fields))

    def begin(self, **fields: Any) -> BeginResult:
        request = self.request(**fields)
        self._limit(request.takes)
        return self._do("begin", request)

    def send(self, request: BeginRequest) -> BeginResult:
        return self._do("begin", request)

    def cas(self, id_: str, sources: str, to: State, **fields: Any) -> CasResult:
        defaults: dict[str, Any] = {"event": "finish", "actor": "ana"}
        self._limit(fields.get("takes", ()))
        return self._do("cas", CasRequest(id_, frozenset(sources.split()), to, **(defaults | fields)))

    def scan(self, kind: Any, **fields: Any) -> Page:
        if kind == "ledger" and isinstance(self.place, PostgresPlace):
            self.place.wait_for_others()
        return self._do("scan", Scan(kind, **fields))

    def purge(self) -> int:
        return self._do("purge", 1000)

    def _limit(self, takes: Any) -> None:
        # the memory store has a governor of its own, the others count what the request tells
        if isinstance(self.store, MemoryStore):
            governor: Any = self.store.governor
            for take in takes:
                if take.every and governor.terms_of("*").own != take.every:
                    governor.set_limit("*", take.every)
                if (take.limits or take.free) and governor.terms_of(take.resource).own != take.limits:
                    governor.set_limit(take.resource, take.limits)
                elif take.free and not governor.terms_of(take.resource).known:
                    governor.set_limit(take.resource, ())

    def row(self, state: str, **fields: Any) -> Any:
        """Make a row in ``state`` and return its record."""
        from tests.guard.stores.asking import HOLD

        if state in ("held", "approved", "expired", "cancelled", "superseded", "stale", "denied"):
            made = self.begin(**({"verdict": "hold", "hold": HOLD} | fields))
        else:
            made = self.begin(**fields)
        record = made.record
        assert record is not None
        if record.state != state:
            record = self.cas(record.id, record.state, state, event=state).record  # pyright: ignore[reportArgumentType]
        return record

    def together(self, requests: list[BeginRequest]) -> list[Any]:
        """Send all at once, from threads or as tasks."""
        if self._loop is not None:

            async def all_of() -> list[Any]:
                return await asyncio.gather(*(self.store.abegin(one) for one in requests))

            return self._loop.run(all_of())
        answers: list[Any] = [None] * len(requests)
        start = threading.Barrier(len(requests))

        def one(index: int) -> None:
            start.wait()
            answers[index] = self.store.begin(requests[index])

        threads = [threading.Thread(target=one, args=(index,)) for index in range(len(requests))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def close(self) -> None:
        if self._loop is not None:
            self._loop.close()


__all__ = ["MemoryPlace", "PostgresPlace", "SqlitePlace", "Verbs"]
