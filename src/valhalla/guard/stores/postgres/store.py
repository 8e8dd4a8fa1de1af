"""The Postgres store: the verbs for threads, tasks and transactions over one text of SQL."""

from __future__ import annotations

import os
import weakref
from typing import Any, Final, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict

from valhalla.guard.codec import JsonCodec
from valhalla.guard.contracts import BeginRequest, BeginResult, CasRequest, CasResult, Line, Page, Scan
from valhalla.guard.stores.charges import charges_of
from valhalla.guard.stores.postgres import failing, ops
from valhalla.guard.stores.postgres.joined import Joined
from valhalla.guard.stores.postgres.schema import SCHEMA, ddl
from valhalla.guard.stores.postgres.tasks import Tasks
from valhalla.guard.stores.postgres.threads import Threads
from valhalla.kernel.problems import Invalid
from valhalla.kit.redact import storable
from valhalla.kit.sql import identifier

_WHERE: Final = {
    "open": "state IN ('held', 'approved')",
    "approved": "state = 'approved'",
    "overdue": "state IN ('held', 'approved') AND expires_at <= {schema}.now()",
    "lapsed": "state = 'executing' AND lease_until <= {schema}.now()",
    "indeterminate": "state = 'indeterminate'",
    "all": "true",
    "id": "id = %s",
    "key": "name = %s AND key = %s AND answers AND (keep_until IS NULL OR keep_until > {schema}.now())",
}


class PostgresStore:
    """Rows in a schema of their own; the server's clock decides.

    Callers that come together share a statement and a commit. ``setup`` makes the schema; until then a verb raises
    ``StoreRefuses``. The role needs rights on the schema only.
    """

    durable = True
    instant = False
    keeps_ends = True

    def __init__(self, url: str, *, schema: str = SCHEMA, connections: int = 2) -> None:
        """``url`` is libpq's (``postgresql://…``). ``connections`` are kept for threads, and as many for each loop.

        Nothing is opened before the first verb, so a store may be made before a fork.

        Raises:
            Invalid: the URL cannot be read.
        """
        try:
            conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # what the driver says shows parts of it, and there may be a password among them
            raise Invalid("this is no address of a database", help="Write postgresql://user@host/database.") from None
        self.codec = JsonCodec()
        self.schema = identifier(schema)
        self._url = url
        self._name = schema
        self._lanes = connections
        self._inherited: list[Any] = []
        self._open()
        me = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: (store := me()) and store._forked())

    def _open(self) -> None:
        self._threads = Threads(self._url, self.schema, lanes=self._lanes)
        self._tasks = Tasks(self._url, self.schema, lanes=self._lanes)

    def _forked(self) -> None:
        # the connections are the parent's: to close them here would end its sessions
        self._inherited += [self._threads, self._tasks]
        self._open()

    def setup(self) -> None:
        """Make the schema or bring it up to date; may be called by many processes at once.

        Raises:
            Unavailable: the server cannot be reached.
        """
        try:
            with psycopg.connect(self._url, connect_timeout=5, application_name="valhalla-guard-setup") as conn:
                # two processes that create one schema at once would collide
                conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"setup {self._name}",))
                conn.execute(ddl(self._name).encode())
        except psycopg.Error as error:
            failing.fail(error, self._name)

    def within(self, conn: Any) -> Joined:
        """Return the store on the caller's own transaction.

        Raises:
            StoreRefuses: the connection cannot be joined.
        """
        return Joined(self, conn)

    def begin(self, request: BeginRequest) -> BeginResult:
        """Dedup, policy, limits, claim and ledger line as one statement."""
        charges_of(request.takes)
        return cast("BeginResult", self._threads.combiner.submit(request))

    def cas(self, request: CasRequest) -> CasResult:
        """Change one row if it still is what the request says."""
        charges_of(request.takes)
        return cast("CasResult", self._threads.combiner.submit(request))

    def charge(self, request: BeginRequest) -> BeginResult:
        """Take the limits of a request and commit."""
        return cast("BeginResult", self._threads.combiner.submit(ops.Charging(request)))

    def scan(self, query: Scan) -> Page:
        """Read rows or ledger lines."""
        statement, params = self._question(query)
        return _page(query, self._threads.query(statement, params))

    def purge(self, limit: int = 1000) -> int:
        """Remove rows past ``keep_until`` and results past ``value_until``; return how many were touched."""
        return self._threads.query(f"SELECT {self.schema}.purge(%s)", (limit,))[0][0]

    async def abegin(self, request: BeginRequest) -> BeginResult:
        """Async twin of ``begin``."""
        charges_of(request.takes)
        return cast("BeginResult", await self._tasks.here().submit(request))

    async def acas(self, request: CasRequest) -> CasResult:
        """Async twin of ``cas``."""
        charges_of(request.takes)
        return cast("CasResult", await self._tasks.here().submit(request))

    async def acharge(self, request: BeginRequest) -> BeginResult:
        """Async twin of ``charge``."""
        return cast("BeginResult", await self._tasks.here().submit(ops.Charging(request)))

    async def ascan(self, query: Scan) -> Page:
        """Async twin of ``scan``."""
        statement, params = self._question(query)
        return _page(query, await self._tasks.here().query(_numbered(statement), *params))

    async def apurge(self, limit: int = 1000) -> int:
        """Async twin of ``purge``."""
        return (await self._tasks.here().query(f"SELECT {self.schema}.purge($1)", limit))[0][0]

    def close(self) -> None:
        """Close the connections."""
        self._threads.close()
        self._tasks.close()

    def _question(self, query: Scan) -> tuple[str, list[Any]]:
        if query.kind == "ledger":
            # a line with a smaller seq may still be uncommitted: what could be overtaken is told the next time
            statement = (
                "SELECT now.now, seq, at, event, name, id, state, principal, key, fingerprint, generation, reason"
                f" FROM {self.schema}.now() LEFT JOIN (SELECT * FROM {self.schema}.lines WHERE seq > %s"
                " AND xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY seq LIMIT %s) l ON true ORDER BY seq"
            )
            return statement, [-1 if query.after is None else query.after, query.limit]
        where, params = _WHERE[query.kind].replace("{schema}", self.schema), list[Any]()
        if query.kind == "id":
            params = [storable(query.id or "")]
        elif query.kind == "key":
            params = [storable(query.name or ""), storable(query.key or "")]
        else:
            for column in ("name", "principal"):
                if (value := getattr(query, column)) is not None:
                    where += f" AND {column} = %s"
                    params.append(storable(value))
            where += " AND seq > %s"
            params.append(query.after or 0)
        statement = (
            f"SELECT now.now, seq, {self.schema}.record(a.row, now.now)::text FROM {self.schema}.now() LEFT JOIN"
            f" (SELECT x AS row, seq FROM {self.schema}.actions x WHERE {where} ORDER BY seq LIMIT %s) a"
            " ON true ORDER BY seq"
        )
        return statement, [*params, query.limit]


def _numbered(statement: str) -> str:
    """Return the statement with asyncpg's placeholders."""
    first, *parts = statement.split("%s")
    return first + "".join(f"${number}{part}" for number, part in enumerate(parts, 1))


def _line(*columns: Any) -> Line:
    return Line(*columns[:-1], begun_at=None, reason=columns[-1])


def _page(query: Scan, rows: list[Any]) -> Page:
    now = rows[0][0]
    found = [row for row in rows if row[1] is not None]
    more = query.kind not in ("id", "key") and len(found) == query.limit
    cursor = found[-1][1] if more and found else None
    if query.kind == "ledger":
        lines = tuple(_line(*row[1:]) for row in found)
        return Page(now, lines=lines, cursor=cursor)
    return Page(now, tuple(ops.record(row[2]) for row in found), cursor=cursor)
