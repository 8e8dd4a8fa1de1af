"""The control plane's Postgres: plain functions ``f(conn, ...)`` on a sync SQLAlchemy Core connection, and runners.

``run`` opens one transaction, ``read`` uses AUTOCOMMIT for single statements (BEGIN/ROLLBACK double their cost).
Both run on the event loop (asyncpg, in a greenlet); ``run_blocking`` runs the same functions in a thread (psycopg).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import asyncpg
import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only, greenlet_spawn

from valhalla.kernel.problems import Invalid, Problem, Unavailable
from valhalla.kit.json import dumps_text, loads
from valhalla.kit.sqlstates import explain, is_away, sqlstate
from valhalla.kit.stale_connections import replace_stale, replace_stale_blocking
from valhalla.kit.writing import may_write

P = ParamSpec("P")
T = TypeVar("T")

SCHEMA: Final = "valhalla"
metadata = sa.MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
)

_READ_ONLY: Final = "25006"
# a deadlock or a serialization failure: the server undid all of it, and lets it through the next time
_LOST_TO_ANOTHER: Final = ("40001", "40P01")
# a NUL in a text, and in a document
_NUL: Final = ("22021", "22P05")
_REPEATS: Final = 3
# seconds, at most: who waited for the locks of the one that lost gets them first, else both would lose again
_PAUSE: Final = 0.05


class Database:
    """One Postgres database with its two runners. ``url`` is a libpq URL (``postgresql://…``)."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 8,
        application_name: str = "valhalla",
        statement_timeout: float = 30.0,
        session: Mapping[str, str] | None = None,
    ) -> None:
        """``statement_timeout`` in seconds bounds every statement of the event loop's runners.

        It also ends the wait on a half-open connection, which would otherwise last until the kernel gives up.
        ``session`` are settings of their Postgres sessions.
        """
        self._url = make_url(url)
        self._pool_size = pool_size
        self._application_name = application_name
        self._statement_timeout = statement_timeout
        self._session = session or {}
        self._async: Engine | None = None
        self._autocommit: Engine | None = None
        self._sync: Engine | None = None
        self.closed: Callable[[], Problem | None] | None = None
        """Says why nobody may write now, None while everybody may. Who then runs here without ``kit.writing`` having
        vouched for it gets read-only transactions, and the problem when it writes all the same."""

    def __repr__(self) -> str:
        return f"Database({self._url.render_as_string(hide_password=True)})"

    @property
    def dsn(self) -> str:
        """The libpq URL with its password: never log it."""
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    def _engine(self) -> Engine:
        # create_async_engine without its facade: that package imports the ORM (60 ms), and each of its calls is a
        # greenlet of its own where a whole unit of work needs one
        if self._async is None:
            self._async = sa.create_engine(
                self._url.set(drivername="postgresql+asyncpg"),
                poolclass=AsyncAdaptedQueuePool,
                _is_async=True,
                # a driver's error must not carry the values of a statement into a log
                hide_parameters=True,
                pool_size=self._pool_size,
                max_overflow=self._pool_size,
                pool_timeout=10,
                # an engine's argument: as an execution option it would be ignored without a word
                skip_autocommit_rollback=True,
                json_serializer=dumps_text,
                json_deserializer=loads,
                connect_args={
                    "timeout": 5,
                    "command_timeout": self._statement_timeout,
                    "server_settings": {"application_name": self._application_name, "jit": "off", **self._session},
                },
            )
            replace_stale(self._async)
        return self._async

    def _sync_engine(self) -> Engine:
        if self._sync is None:
            self._sync = sa.create_engine(
                self._url.set(drivername="postgresql+psycopg"),
                hide_parameters=True,
                pool_size=4,
                json_serializer=dumps_text,
                json_deserializer=loads,
                connect_args={"application_name": self._application_name, "connect_timeout": 5},
            )
            replace_stale_blocking(self._sync)
        return self._sync

    async def run(self, f: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``f(conn, ...)`` in one transaction: committed when it returns, rolled back when it raises.

        It is run anew when Postgres took it back for another's sake (a deadlock), so it must do nothing but write here.

        Raises:
            Unavailable: the server cannot be reached; a transaction that was not acknowledged may still have committed.
            Invalid: a text holds NUL.
            Problem: it wrote while writes are closed.
        """
        if self.closed is not None and (refusal := self._refusal()) is not None:
            return await self._reading(refusal, f, *args, **kwargs)
        return await self._spawn(_in_transaction, self._engine(), _pause, f, *args, **kwargs)

    async def read(self, f: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of single-statement reads without a transaction around it.

        Raises:
            Unavailable: the server cannot be reached.
            Invalid: a text holds NUL.
            Problem: it wrote while writes are closed.
        """
        if self.closed is not None and (refusal := self._refusal()) is not None:
            return await self._reading(refusal, f, *args, **kwargs)
        if self._autocommit is None:
            self._autocommit = self._engine().execution_options(isolation_level="AUTOCOMMIT")
        return await self._spawn(_connected, self._autocommit, f, *args, **kwargs)

    def require_writable(self) -> None:
        """Accept a caller that is about to write elsewhere than in ``run``.

        Raises:
            Problem: writes are closed to it.
        """
        if (refusal := self._refusal()) is not None:
            raise refusal

    def _refusal(self) -> Problem | None:
        return None if self.closed is None or may_write() else self.closed()

    async def _reading(
        self, refusal: Problem, f: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return await self._spawn(_in_transaction, _read_only(self._engine()), _pause, f, *args, **kwargs)
        except Exception as error:
            if sqlstate(error) == _READ_ONLY:
                raise refusal from error
            raise

    async def _spawn(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        try:
            return await greenlet_spawn(work, *args, **kwargs)
        except Exception as error:
            if (problem := _problem(error)) is not None:
                raise problem from error
            raise

    def run_blocking(self, f: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like ``run``, for a caller without an event loop."""
        refusal = self._refusal()
        engine = self._sync_engine()
        try:
            return _in_transaction(engine if refusal is None else _read_only(engine), time.sleep, f, *args, **kwargs)
        except Exception as error:
            if refusal is not None and sqlstate(error) == _READ_ONLY:
                raise refusal from error
            if (problem := _problem(error)) is not None:
                raise problem from error
            raise

    async def connect(self) -> asyncpg.Connection[Any]:
        """Open a connection of its own, outside the pool, for LISTEN or a session lock.

        Raises:
            Unavailable: the server cannot be reached.
        """
        try:
            return await asyncpg.connect(
                self.dsn, timeout=5, server_settings={"application_name": self._application_name}
            )
        except Exception as error:
            if is_away(error):
                raise _away(error) from error
            raise

    async def close(self) -> None:
        """Close every pooled connection."""
        if self._async is not None:
            # a server that went silent must not keep the process from ending
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await greenlet_spawn(self._async.dispose)
        if self._sync is not None:
            await asyncio.to_thread(self._sync.dispose)


def _read_only(engine: Engine) -> Engine:
    """Return the same pool with transactions that Postgres itself lets read only; the mode ends with the checkout."""
    return engine.execution_options(postgresql_readonly=True)


def _pause(seconds: float) -> None:
    """Sleep in a greenlet of the event loop."""
    await_only(asyncio.sleep(seconds))


def _in_transaction(
    engine: Engine, pause: Callable[[float], None], f: Callable[..., T], *args: Any, **kwargs: Any
) -> T:
    for _ in range(_REPEATS):
        try:
            with engine.begin() as connection:
                return f(connection, *args, **kwargs)
        except sqlalchemy.exc.DBAPIError as error:
            if sqlstate(error) not in _LOST_TO_ANOTHER:
                raise
        pause(random.uniform(_PAUSE / 5, _PAUSE))  # noqa: S311 - only that two do not choose the same
    with engine.begin() as connection:
        return f(connection, *args, **kwargs)


def _connected(engine: Engine, f: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    with engine.connect() as connection:
        return f(connection, *args, **kwargs)


def _problem(error: BaseException) -> Problem | None:
    """Return what is the server's or the caller's fault, ``None``: it is ours."""
    if is_away(error):
        return _away(error)
    return Invalid("a text of the request holds NUL, which Postgres cannot") if sqlstate(error) in _NUL else None


def _away(error: BaseException) -> Unavailable:
    return Unavailable("postgres", explain(error, "the control plane's Postgres"))
