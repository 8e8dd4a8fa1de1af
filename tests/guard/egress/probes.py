"""The ways out, each with the verdict that every layer is expected to give, alone and together."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import os
import smtplib
import socket
import sqlite3
import struct
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import httpx
import psycopg
import pytest
import redis
import redis.asyncio
import requests
import sqlalchemy as sa
import uvloop
from tests.guard.egress.world import World

LIBC: Any = ctypes.CDLL(None, use_errno=True)
# taken before any seal: L3 sees the taking, not the call
CONNECT, SYSCALL = LIBC.connect, LIBC.syscall
IO_URING_SETUP = 425


@dataclass(frozen=True)
class Way:
    """``attempt`` is what the sealed block does, ``arrived`` whether it had its effect."""

    attempt: Callable[[], object]
    arrived: Callable[[], object]


@dataclass(frozen=True)
class Probe:
    """``prepare`` opens what has to be open before; ``verdicts`` are those of L2, L3, L4 and all together:
    ``b`` blocked, ``p`` passes, ``h`` blocked, and the client hangs until the deadline."""

    name: str
    verdicts: str
    prepare: Callable[[World], Way]


def _posts(world: World, attempt: Callable[[], object]) -> Way:
    before = world.web.posts
    return Way(attempt, lambda: world.web.posts > before)


def _connects(world: World, attempt: Callable[[], object]) -> Way:
    before = world.web.connections
    return Way(attempt, lambda: world.web.connections > before)


def _requests_kept(world: World) -> Way:
    session = world.closing(requests.Session())
    session.get(world.web.url)
    return _posts(world, lambda: session.post(world.web.url, data=b"x", timeout=10))


def _httpx_kept(world: World) -> Way:
    client = world.closing(httpx.Client(timeout=world.patience))
    client.get(world.web.url)
    return _posts(world, lambda: client.post(world.web.url, content=b"x"))


async def _httpx_async(url: str) -> None:
    async with httpx.AsyncClient(timeout=10) as client:
        await client.post(url, content=b"x")


async def _aiohttp(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(url, data=b"x"):
        pass


def _smtp_kept(world: World) -> Way:
    client = smtplib.SMTP("127.0.0.1", world.mail.port, timeout=10)
    world.closing(client)
    client.ehlo()
    before = world.mail.messages
    return Way(lambda: client.sendmail("a@b", ["c@d"], "Subject: x\n\nhi"), lambda: world.mail.messages > before)


def _redis(world: World, client: Any) -> Way:
    reader = world.closing(redis.Redis.from_url(world.valkey))
    reader.delete("probe")
    return Way(lambda: client.set("probe", "1"), lambda: reader.get("probe") is not None)


def _redis_kept(world: World) -> Way:
    client = world.closing(redis.Redis.from_url(world.valkey, socket_timeout=10, retry=None))
    client.ping()
    return _redis(world, client)


def _redis_new(world: World) -> Way:
    return _redis(world, world.closing(redis.Redis.from_url(world.valkey, socket_timeout=10, retry=None)))


async def _redis_async(url: str) -> None:
    async with redis.asyncio.Redis.from_url(url, socket_timeout=10, retry=None) as client:
        await client.set("probe", "1")


def _table(world: World, attempt: Callable[[], object]) -> Way:
    reader = world.closing(psycopg.connect(world.postgres, autocommit=True))
    reader.execute("DROP TABLE IF EXISTS public.probe")
    there = "SELECT 1 FROM pg_class WHERE relname = 'probe'"
    return Way(attempt, lambda: reader.execute(there).fetchone() is not None)


def _psycopg_new(world: World) -> Way:
    def attempt() -> None:
        with psycopg.connect(world.postgres, connect_timeout=10, autocommit=True) as connection:
            connection.execute("CREATE TABLE public.probe (i int)")

    return _table(world, attempt)


def _psycopg_kept(world: World) -> Way:
    connection = psycopg.connect(world.postgres, autocommit=True)
    world.closers.append(lambda: _end(world, connection.info.backend_pid))
    return _table(world, lambda: connection.execute("CREATE TABLE public.probe (i int)"))


def _end(world: World, backend: int) -> None:
    # a client that hangs in libpq is woken by its server's end
    with psycopg.connect(world.postgres, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (backend,))


def _sqlalchemy(world: World) -> Way:
    engine = sa.create_engine(world.postgres.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    world.closers += [lambda: _end(world, backend), engine.dispose]

    def attempt() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE public.probe (i int)")

    return _table(world, attempt)


def _asyncpg_new(world: World) -> Way:
    async def attempt() -> None:
        connection = await asyncpg.connect(world.postgres, timeout=10)
        await connection.execute("CREATE TABLE public.probe (i int)")
        await connection.close()

    return _table(world, lambda: asyncio.run(attempt()))


def _uvloop(world: World) -> Way:
    async def attempt() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", world.web.port)
        writer.close()

    return _connects(world, lambda: uvloop.run(attempt()))


def _connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=10).close()


def _datagram(send: Callable[[socket.socket, Any], object]) -> Callable[[World], Way]:
    def prepare(world: World) -> Way:
        receiver = world.closing(socket.socket(type=socket.SOCK_DGRAM))
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(0.05)

        def attempt() -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                send(sender, receiver.getsockname())

        def arrived() -> bool:
            try:
                return receiver.recv(10) == b"x"
            except TimeoutError:
                return False

        return Way(attempt, arrived)

    return prepare


def _makes(run: Callable[[str], object]) -> Callable[[World], Way]:
    def prepare(world: World) -> Way:
        path = world.folder / "made"
        return Way(lambda: run(str(path)), path.exists)

    return prepare


def _fork(path: str) -> None:
    pid = os.fork()
    if pid == 0:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os._exit(0)
    os.waitpid(pid, 0)


def _vanishes(run: Callable[[str], object]) -> Callable[[World], Way]:
    def prepare(world: World) -> Way:
        path = world.folder / "there"
        path.touch()
        return Way(lambda: run(str(path)), lambda: not path.exists())

    return prepare


def _sqlite(world: World) -> Way:
    path = world.folder / "file.db"

    def attempt() -> None:
        connection = sqlite3.connect(path)
        try:
            connection.execute("CREATE TABLE probe (i int)")
        finally:
            connection.close()

    def arrived() -> bool:
        with sqlite3.connect(path) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None

    return Way(attempt, arrived)


def _foreign(world: World) -> Way:
    raw = struct.pack("=H", socket.AF_INET) + struct.pack("!H", world.web.port) + bytes([127, 0, 0, 1]) + bytes(8)

    def attempt() -> None:
        with socket.socket() as one:
            if CONNECT(one.fileno(), raw, len(raw)) != 0:
                raise OSError(ctypes.get_errno(), "connect")

    return _connects(world, attempt)


def _ring(world: World) -> Way:
    del world
    made: list[int] = []
    outside = SYSCALL(ctypes.c_long(IO_URING_SETUP), ctypes.c_long(1), ctypes.create_string_buffer(120))
    if outside < 0:
        pytest.skip("this kernel has no io_uring, or forbids it")
    os.close(outside)

    def attempt() -> None:
        parameters = ctypes.create_string_buffer(120)
        descriptor = SYSCALL(ctypes.c_long(IO_URING_SETUP), ctypes.c_long(1), parameters)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        made.append(descriptor)
        os.close(descriptor)

    return Way(attempt, lambda: made)


def _open_socket(send: Callable[[socket.socket], object]) -> Callable[[World], Way]:
    def prepare(world: World) -> Way:
        listener = world.closing(socket.create_server(("127.0.0.1", 0)))
        mine = world.closing(socket.create_connection(listener.getsockname()))
        theirs, _ = listener.accept()
        world.closing(theirs)
        theirs.settimeout(0.05)

        def arrived() -> bool:
            try:
                return theirs.recv(10) != b""
            except TimeoutError:
                return False

        return Way(lambda: send(mine), arrived)

    return prepare


def _dup(mine: socket.socket) -> None:
    copy = os.dup(mine.fileno())
    try:
        os.write(copy, b"x")
    finally:
        os.close(copy)


def _new_thread(world: World) -> Way:
    return _connects(world, lambda: _joined(lambda: _connect(world.web.port)))


def _joined(function: Callable[[], None]) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - whatever it was, it is the caller's
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _pool(world: World) -> Way:
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()
    world.closers.append(pool.shutdown)
    return _connects(world, lambda: pool.submit(_connect, world.web.port).result())


def _no_context(world: World) -> Way:
    return _connects(world, lambda: contextvars.Context().run(_connect, world.web.port))


PROBES = [
    Probe("requests, new", "bbbb", lambda w: _posts(w, lambda: requests.post(w.web.url, data=b"x", timeout=10))),
    Probe("requests, kept alive", "bbbb", _requests_kept),
    Probe("urllib", "bbbb", lambda w: _posts(w, lambda: urllib.request.urlopen(w.web.url, b"x", timeout=10).read())),
    Probe("httpx, new", "bbbb", lambda w: _posts(w, lambda: httpx.post(w.web.url, content=b"x", timeout=10))),
    Probe("httpx, kept alive", "bpbb", _httpx_kept),
    Probe("httpx, async", "bbbb", lambda w: _posts(w, lambda: asyncio.run(_httpx_async(w.web.url)))),
    Probe("aiohttp", "bbbb", lambda w: _posts(w, lambda: asyncio.run(_aiohttp(w.web.url)))),
    Probe("smtplib, kept open", "bbbb", _smtp_kept),
    Probe("redis, new", "bbbb", _redis_new),
    Probe("redis, pooled", "bpbb", _redis_kept),
    Probe("redis, async", "bbbb", lambda w: Way(lambda: asyncio.run(_redis_async(w.valkey)), _redis_new(w).arrived)),
    Probe("psycopg, new", "bpbb", _psycopg_new),
    Probe("psycopg, open", "bphb", _psycopg_kept),
    Probe("asyncpg, new", "bbbb", _asyncpg_new),
    Probe("SQLAlchemy, pooled", "bphb", _sqlalchemy),
    Probe("uvloop", "bpbb", _uvloop),
    Probe("socket", "pbbb", lambda w: _connects(w, lambda: _connect(w.web.port))),
    Probe("datagram, sendto", "pbbb", _datagram(lambda s, to: s.sendto(b"x", to))),
    Probe("datagram, sendmsg", "pbbb", _datagram(lambda s, to: s.sendmsg([b"x"], [], 0, to))),
    Probe("subprocess", "pbbb", _makes(lambda path: subprocess.run(["touch", path], check=True))),
    Probe("os.system", "pbbb", _makes(lambda path: os.system(f"touch {path}"))),
    Probe("os.posix_spawn", "pbbb", _makes(lambda path: os.waitpid(os.posix_spawn("/bin/touch", ["t", path], {}), 0))),
    Probe("os.fork", "pbbb", _makes(_fork)),
    Probe("os.remove", "pbbb", _vanishes(os.remove)),
    Probe("os.rename", "pbbb", _vanishes(lambda path: os.rename(path, path + "2"))),  # noqa: PTH104
    Probe("open for writing", "pbpb", _makes(lambda path: open(path, "w").close())),  # noqa: PTH123
    Probe("SQLite", "bpbb", _sqlite),
    Probe("ctypes, connect", "ppbb", _foreign),
    Probe("io_uring", "ppbb", _ring),
    Probe("a new thread", "pbbb", _new_thread),
    Probe("a worker from before", "pbbb", _pool),
    Probe("an empty context", "ppbb", _no_context),
    Probe("write to an open socket", "ppbb", _open_socket(lambda s: os.write(s.fileno(), b"x"))),
    Probe("send on an open socket", "ppbb", _open_socket(lambda s: s.send(b"x"))),
    Probe("a copy of an open socket", "ppbb", _open_socket(_dup)),
]
