"""Connections for callers in threads: as many as batches are written at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Sequence
from typing import Any

import psycopg

from valhalla.guard.stores.combining import Combiner
from valhalla.guard.stores.postgres import failing, ops
from valhalla.guard.stores.postgres.columns import Simple, statement
from valhalla.guard.stores.postgres.ops import Request, Result
from valhalla.kernel.problems import Unavailable

SESSION = "SET lock_timeout = '5s'; SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'"

# longer than the server lets any statement take; who is silent for so long does not answer any more
SILENCE = 35.0


class Bounded(psycopg.Connection[Any]):
    """A connection that does not wait for ever for a server that is there and says nothing."""

    def wait(self, gen: Any, interval: float = 0.5, timeout: float | None = None) -> Any:
        """Wait for what ``gen`` does, at most ``SILENCE`` seconds; only newer drivers know ``timeout``."""
        return super().wait(_bounded(gen), interval)


def _bounded(gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    until = time.monotonic() + SILENCE
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > until:
                raise psycopg.OperationalError("the server does not answer in time")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


class Threads:
    """Sync connections, opened when they are needed and kept."""

    def __init__(self, url: str, schema: str, *, lanes: int) -> None:
        self._url = url
        self._schema = schema
        self._lanes = lanes
        self._batch = statement(schema, lambda _: "%s").encode()
        self._perform = f"SELECT {schema}.perform(%s::jsonb)::text".encode()
        self._idle: list[psycopg.Connection[Any]] = []
        self._closed = False
        self.combiner: Combiner[Request, Result] = Combiner(self._write, lanes=lanes)

    def _write(self, batch: Sequence[Request]) -> list[Result]:
        again = False
        answers: list[Any] = [None] * len(batch)
        simple = Simple(batch)
        for attempt in range(failing.TRIES):
            try:
                with self.connection() as conn:
                    if simple and not again:
                        row = conn.execute(self._batch, simple.columns(), prepare=True).fetchone()
                        simple.answer(row or (), answers)
                    left = [place for place, answer in enumerate(answers) if answer is None]
                    rest = [batch[place] for place in left]
                    if rest:
                        row = conn.execute(self._perform, (ops.encode(rest, again=again),), prepare=True).fetchone()
                        for place, answer in zip(left, ops.decode(rest, (row or ("",))[0]), strict=True):
                            answers[place] = answer
                    return answers
            except psycopg.Error as error:
                if failing.may_repeat(error) and attempt < failing.TRIES - 1:
                    continue
                # the server was restarted, or its answer was lost: the row tells whether the first try was done
                if failing.is_lost(error) and not again:
                    again = True
                    continue
                failing.fail(error, self._schema)
        raise AssertionError("the last attempt returns or raises")

    def query(self, statement: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement that may be repeated; once more on a new connection if the old one broke."""
        for last in (False, True):
            try:
                with self.connection() as conn:
                    return conn.execute(statement.encode(), params).fetchall()
            except psycopg.Error as error:
                if last or not failing.is_lost(error):
                    failing.fail(error, self._schema)
        raise AssertionError("the last attempt returns or raises")

    @contextlib.contextmanager
    def connection(self) -> Generator[psycopg.Connection[Any]]:
        """Lend a connection; one that broke takes all idle ones with it, for they are as old."""
        if self._closed:
            raise Unavailable("postgres", "the store is closed")
        try:
            conn = self._idle.pop()
        except IndexError:
            try:
                conn = self._connect()
            except psycopg.Error as error:
                failing.fail(error, self._schema)
        try:
            yield conn
        except BaseException as error:
            conn.close()
            if isinstance(error, psycopg.Error) and failing.is_lost(error):
                self.forget()
            raise
        if len(self._idle) < self._lanes and not self._closed:
            self._idle.append(conn)
        else:
            conn.close()

    def _connect(self) -> psycopg.Connection[Any]:
        conn = Bounded.connect(
            self._url,
            autocommit=True,
            application_name="valhalla-guard",
            connect_timeout=5,
            # a host that has gone without a word is noticed in half a minute, not in two hours
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
        )
        conn.execute(SESSION)
        return conn

    def forget(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def close(self) -> None:
        """Close all; whoever writes closes its connection afterwards."""
        self._closed = True
        self.forget()

    def abandon(self) -> list[psycopg.Connection[Any]]:
        """Give up the connections without closing them: after a fork they are the parent's."""
        return self._idle
