"""Connections for callers on event loops: a few for each loop, closed when their loop ends."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any, Final

import asyncpg

from valhalla.guard.contracts import CasRequest
from valhalla.guard.stores.combining import MOST
from valhalla.guard.stores.postgres import failing, ops
from valhalla.guard.stores.postgres.columns import Simple, statement
from valhalla.guard.stores.postgres.ops import Request, Result
from valhalla.guard.stores.postgres.threads import SESSION
from valhalla.kernel.problems import Unavailable

Connection = Any
# what a batch costs beside its requests is not worth it for less
_LEAST: Final = 16
_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


def _share(queued: int, lanes: int) -> int:
    """Return how many requests a lane takes while so many begin at once.

    Who waited for one batch comes back at once with the next: without a second batch the server would stand still
    while they work, and they while it does.
    """
    return min(MOST, queued if queued < lanes * _LEAST else -(-queued // lanes))


class Tasks:
    """The lanes of each loop."""

    def __init__(self, url: str, schema: str, *, lanes: int) -> None:
        self._url = url
        self._schema = schema
        self._lanes = lanes
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Loop] = weakref.WeakKeyDictionary()

    def here(self) -> Loop:
        """Return the lanes of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            found = self._loops[loop] = Loop(self._url, self._schema, self._lanes)
        return found

    def close(self) -> None:
        """Cut the connections of all loops; a loop may not be running any more."""
        for loop in list(self._loops.values()):
            loop.terminate()


class Loop:
    """Batches on one event loop: what its tasks ask for while a statement is under way shares the next one."""

    def __init__(self, url: str, schema: str, lanes: int) -> None:
        self._url = url
        self._schema = schema
        self._batch = statement(schema, lambda number: f"${number}")
        self._perform = f"SELECT {schema}.perform($1::jsonb)::text"
        self._queue: deque[tuple[Request, asyncio.Future[Result]]] = deque()
        self._free = lanes
        self._starting = 0
        self._lanes = lanes
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._keeper: AsyncGenerator[None] | None = None
        self._closed = False

    def submit(self, request: Request) -> asyncio.Future[Result]:
        """Have the request written together with others; the future is the answer's, of whoever made it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queue.append((request, future))
        if self._free:
            self._free -= 1
            self._starting += 1
            task = loop.create_task(self._drain())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return future

    async def _drain(self) -> None:
        sharing, self._starting = self._starting, self._starting - 1
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(_share(len(self._queue), sharing))]
                sharing = 1
                # who was cancelled wants no claim any more, but what has happened is written down
                batch = [one for one in batch if not one[1].done() or isinstance(one[0], CasRequest)]
                if batch:
                    await self._answer(batch)
        finally:
            self._free += 1

    async def _answer(self, batch: list[tuple[Request, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([request for request, _ in batch])
        except BaseException as error:
            if len(batch) > 1 and isinstance(error, Exception) and not isinstance(error, Unavailable):
                # one of them cannot be written: the others must not suffer for it
                for one in batch:
                    await self._answer([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else Unavailable("postgres"))
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)

    async def _write(self, batch: list[Request]) -> list[Result]:
        again = False
        answers: list[Any] = [None] * len(batch)
        simple = Simple(batch)
        for attempt in range(failing.TRIES):
            try:
                async with self.connection() as conn:
                    if simple and not again:
                        simple.answer(await conn.fetchrow(self._batch, *simple.columns()), answers)
                    left = [place for place, answer in enumerate(answers) if answer is None]
                    rest = [batch[place] for place in left]
                    if rest:
                        text = await conn.fetchval(self._perform, ops.encode(rest, again=again))
                        for place, answer in zip(left, ops.decode(rest, text), strict=True):
                            answers[place] = answer
                    return answers
            except _ERRORS as error:
                if failing.may_repeat(error) and attempt < failing.TRIES - 1:
                    continue
                if failing.is_lost(error) and not again:
                    again = True
                    continue
                failing.fail(error, self._schema)
        raise AssertionError("the last attempt returns or raises")

    async def query(self, statement: str, *params: Any) -> list[Any]:
        """Run one statement that may be repeated; once more on a new connection if the old one broke."""
        for last in (False, True):
            try:
                async with self.connection() as conn:
                    return await conn.fetch(statement, *params)
            except _ERRORS as error:
                if last or not failing.is_lost(error):
                    failing.fail(error, self._schema)
        raise AssertionError("the last attempt returns or raises")

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """Lend a connection; one that broke takes all idle ones with it, for they are as old."""
        if self._closed:
            raise Unavailable("postgres", "the store is closed")
        if self._idle:
            conn = self._idle.pop()
        else:
            try:
                conn = await self._connect()
            except _ERRORS as error:
                failing.fail(error, self._schema)
        try:
            yield conn
        except BaseException as error:
            self._drop(conn)
            if isinstance(error, _ERRORS) and failing.is_lost(error):
                while self._idle:
                    self._drop(self._idle.pop())
            raise
        if len(self._idle) < self._lanes and not self._closed:
            self._idle.append(conn)
        else:
            self._drop(conn)

    async def _connect(self) -> Connection:
        if self._keeper is None:
            # a loop that ends closes its generators, and this one closes the connections
            self._keeper = self._keep()
            await anext(self._keeper)
        conn = await asyncpg.connect(
            self._url, timeout=5, command_timeout=35, server_settings={"application_name": "valhalla-guard"}
        )
        await conn.execute(SESSION)
        self._open.add(conn)
        return conn

    async def _keep(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._keeper = None
            self.terminate(ended=False)

    def _drop(self, conn: Connection) -> None:
        self._open.discard(conn)
        conn.terminate()

    def terminate(self, *, ended: bool = True) -> None:
        """Cut all connections."""
        self._closed = self._closed or ended
        self._idle.clear()
        for conn in list(self._open):
            self._open.discard(conn)
            with contextlib.suppress(RuntimeError):
                # the loop may be closed, and its sockets with it
                conn.terminate()
