"""The store on a caller's own transaction: claim, effect and end are one commit, or none of them happened."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from valhalla.guard.contracts import Began, BeginRequest, BeginResult, CasRequest, CasResult, Page, Scan, Verdict
from valhalla.guard.errors import StoreRefuses
from valhalla.guard.stores.postgres import ops
from valhalla.guard.stores.postgres.ops import Request

if TYPE_CHECKING:
    from valhalla.guard.stores.postgres.store import PostgresStore

_SAVE: Final = "SAVEPOINT valhalla_guard"
_UNDO: Final = "ROLLBACK TO SAVEPOINT valhalla_guard"
_KEEP: Final = "RELEASE SAVEPOINT valhalla_guard"
_UNDONE: Final = frozenset({"not_done", "indeterminate"})


class Joined:
    """``begin`` sets a savepoint before the claim; an effect that raises is undone up to there, and so is its claim.

    Limits are charged by a commit of the store's own: a row lock that lasted as long as the caller's transaction
    would make all callers of the limit wait for it. They stay charged if the transaction is rolled back.
    """

    durable = True
    instant = False

    def __init__(self, store: PostgresStore, conn: Any) -> None:
        """Take a connection of psycopg (sync or async) or asyncpg, or SQLAlchemy's around one.

        Raises:
            StoreRefuses: it is none of these, or has no open transaction to join.
        """
        self.codec = store.codec
        self._store = store
        self._conn = conn = _driver(conn)
        self._psycopg = type(conn).__module__.startswith("psycopg")
        self._perform = f"SELECT {store.schema}.perform({'%s' if self._psycopg else '$1'}::jsonb)::text"
        # psycopg without autocommit opens the transaction with the first statement
        implicit = self._psycopg and not conn.autocommit
        joins = implicit or (conn.info.transaction_status != 0 if self._psycopg else conn.is_in_transaction())
        if not joins:
            raise StoreRefuses(
                "the connection has no open transaction", help="Open one, call the action in it, and commit it."
            )

    def begin(self, request: BeginRequest) -> BeginResult:
        """Claim inside the caller's transaction."""
        if request.verdict is not Verdict.RUN:
            return self._store.begin(request)
        self._run(_SAVE)
        result = self._one(replace(request, takes=()))
        if result.kind is Began.EXECUTE and request.takes:
            charged = self._store.charge(request)
            if charged.kind is Began.LIMITED:
                self._run(_UNDO)
                result = charged
        if result.kind is not Began.EXECUTE:
            self._run(_KEEP)
        return result

    async def abegin(self, request: BeginRequest) -> BeginResult:
        """Async twin of ``begin``."""
        if request.verdict is not Verdict.RUN:
            return await self._store.abegin(request)
        await self._arun(_SAVE)
        result = await self._aone(replace(request, takes=()))
        if result.kind is Began.EXECUTE and request.takes:
            charged = await self._store.acharge(request)
            if charged.kind is Began.LIMITED:
                await self._arun(_UNDO)
                result = charged
        if result.kind is not Began.EXECUTE:
            await self._arun(_KEEP)
        return result

    def cas(self, request: CasRequest) -> CasResult:
        """Write the end down, or undo what was begun; then the transaction can go on."""
        if self._ended(request):
            return CasResult("done")
        if request.to in _UNDONE:
            self._run(_UNDO)
            self._run(_KEEP)
            return CasResult("done")
        result = self._one(request)
        self._run(_KEEP)
        return result

    async def acas(self, request: CasRequest) -> CasResult:
        """Async twin of ``cas``."""
        if self._ended(request):
            return CasResult("done")
        if request.to in _UNDONE:
            await self._arun(_UNDO)
            await self._arun(_KEEP)
            return CasResult("done")
        result = await self._aone(request)
        await self._arun(_KEEP)
        return result

    def _ended(self, request: CasRequest) -> bool:
        """Say whether a transaction that cannot go on has undone what is to be undone."""
        conn = self._conn
        gone = conn.closed if self._psycopg else conn.is_closed()
        broken = gone or (self._psycopg and conn.info.transaction_status == 0)
        if broken and request.to not in _UNDONE:
            raise StoreRefuses(
                "the effect ended the transaction that it had joined",
                help="Leave commit and rollback to whoever opened the transaction.",
            )
        return broken

    def _run(self, statement: str, *params: Any) -> Any:
        answer = self._conn.execute(statement, params or None)
        if inspect.isawaitable(answer):
            getattr(answer, "close", lambda: None)()
            raise StoreRefuses("a sync action cannot use an async connection", help="Declare it with async def.")
        return answer

    def _one(self, request: Request) -> Any:
        row = self._run(self._perform, ops.encode([request])).fetchone()
        return ops.decode([request], row[0])[0]

    async def _arun(self, statement: str) -> None:
        answer = self._conn.execute(statement)
        if inspect.isawaitable(answer):
            await answer

    async def _aone(self, request: Request) -> Any:
        text = ops.encode([request])
        if self._psycopg:
            cursor = self._conn.execute(self._perform, (text,))
            cursor = await cursor if inspect.isawaitable(cursor) else cursor
            row = cursor.fetchone()
            row = await row if inspect.isawaitable(row) else row
            return ops.decode([request], row[0])[0]
        return ops.decode([request], await self._conn.fetchval(self._perform, text))[0]

    def scan(self, query: Scan) -> Page:
        """Read what is committed."""
        return self._store.scan(query)

    async def ascan(self, query: Scan) -> Page:
        """Async twin of ``scan``."""
        return await self._store.ascan(query)

    def purge(self, limit: int = 1000) -> int:
        """Remove what is over, outside of the transaction."""
        return self._store.purge(limit)

    async def apurge(self, limit: int = 1000) -> int:
        """Async twin of ``purge``."""
        return await self._store.apurge(limit)

    def close(self) -> None:
        """Do nothing: the connection is the caller's."""


def _driver(conn: Any) -> Any:
    """Return the driver's connection: SQLAlchemy's are looked into."""
    if type(conn).__module__.startswith("sqlalchemy"):
        conn = getattr(conn, "sync_connection", conn).connection.driver_connection
    if not type(conn).__module__.startswith(("psycopg", "asyncpg")):
        raise StoreRefuses(
            f"{type(conn).__name__} is no Postgres connection",
            help="Pass a connection of psycopg or asyncpg as the argument that transactional= names.",
        )
    return conn
