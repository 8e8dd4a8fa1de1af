"""Ways out by the clients of HTTP, mail, Valkey and Postgres, new and kept open."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable
from typing import Any

import aiohttp
import asyncpg
import httpx
import psycopg
import redis
import redis.asyncio
import requests
import sqlalchemy as sa
import uvloop
from tests.guard.egress.ways import Way, connects, posts
from tests.guard.egress.world import World


def requests_kept(world: World) -> Way:
    session = world.closing(requests.Session())
    session.get(world.web.url)
    return posts(world, lambda: session.post(world.web.url, data=b"x", timeout=10))


def httpx_kept(world: World) -> Way:
    client = world.closing(httpx.Client(timeout=world.patience))
    client.get(world.web.url)
    return posts(world, lambda: client.post(world.web.url, content=b"x"))


async def httpx_async(url: str) -> None:
    async with httpx.AsyncClient(timeout=10) as client:
        await client.post(url, content=b"x")


async def aiohttp_post(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(url, data=b"x"):
        pass


def smtp_new(world: World) -> Way:
    before = world.mail.messages

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", world.mail.port, timeout=10) as client:
            client.sendmail("a@b", ["c@d"], "Subject: x\n\nhi")

    return Way(send, lambda: world.mail.messages > before)


def smtp_kept(world: World) -> Way:
    client = smtplib.SMTP("127.0.0.1", world.mail.port, timeout=10)
    world.closing(client)
    client.ehlo()
    before = world.mail.messages
    return Way(lambda: client.sendmail("a@b", ["c@d"], "Subject: x\n\nhi"), lambda: world.mail.messages > before)


def _redis(world: World, client: Any) -> Way:
    reader = world.closing(redis.Redis.from_url(world.valkey))
    reader.delete("probe")
    return Way(lambda: client.set("probe", "1"), lambda: reader.get("probe") is not None)


def redis_kept(world: World) -> Way:
    client = world.closing(redis.Redis.from_url(world.valkey, socket_timeout=10, retry=None))
    client.ping()
    return _redis(world, client)


def redis_new(world: World) -> Way:
    return _redis(world, world.closing(redis.Redis.from_url(world.valkey, socket_timeout=10, retry=None)))


async def redis_async(url: str) -> None:
    async with redis.asyncio.Redis.from_url(url, socket_timeout=10, retry=None) as client:
        await client.set("probe", "1")


def _table(world: World, attempt: Callable[[], object]) -> Way:
    reader = world.closing(psycopg.connect(world.postgres, autocommit=True))
    reader.execute("DROP TABLE IF EXISTS public.probe")
    there = "SELECT 1 FROM pg_class WHERE relname = 'probe'"
    return Way(attempt, lambda: reader.execute(there).fetchone() is not None)


def psycopg_new(world: World) -> Way:
    def attempt() -> None:
        with psycopg.connect(world.postgres, connect_timeout=10, autocommit=True) as connection:
            connection.execute("CREATE TABLE public.probe (i int)")

    return _table(world, attempt)


def psycopg_kept(world: World) -> Way:
    connection = psycopg.connect(world.postgres, autocommit=True)
    world.closers.append(lambda: _end(world, connection.info.backend_pid))
    return _table(world, lambda: connection.execute("CREATE TABLE public.probe (i int)"))


def _end(world: World, backend: int) -> None:
    # a client that hangs in libpq is woken by its server's end
    with psycopg.connect(world.postgres, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (backend,))


def sqlalchemy_pooled(world: World) -> Way:
    engine = sa.create_engine(world.postgres.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    world.closers += [lambda: _end(world, backend), engine.dispose]

    def attempt() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE public.probe (i int)")

    return _table(world, attempt)


def asyncpg_new(world: World) -> Way:
    async def attempt() -> None:
        connection = await asyncpg.connect(world.postgres, timeout=10)
        await connection.execute("CREATE TABLE public.probe (i int)")
        await connection.close()

    return _table(world, lambda: asyncio.run(attempt()))


def uvloop_new(world: World) -> Way:
    async def attempt() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", world.web.port)
        writer.close()

    return connects(world, lambda: uvloop.run(attempt()))
