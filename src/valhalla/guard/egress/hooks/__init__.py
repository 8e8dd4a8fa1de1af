"""L2: hooks on clients' own calls, which know the content of a request."""

from __future__ import annotations

from typing import Final

from valhalla.guard.egress.hooks import http, loops, mail, nats, postgres, redis, sqlalchemy, sqlite, threads
from valhalla.guard.egress.hooks.registry import Hooks

# one per process, as the modules that it changes are
HOOKS: Final = Hooks(
    threads.handing,
    {
        "httpcore": ("httpcore", http.httpcore),
        "requests.adapters": ("requests", http.requests),
        "urllib3.connectionpool": ("urllib3", http.urllib3),
        "http.client": ("http.client", http.http_client),
        "aiohttp.client": ("aiohttp", http.aiohttp),
        "smtplib": ("smtplib", mail.smtplib),
        "redis.connection": ("redis", redis.redis),
        "redis.asyncio.connection": ("redis", redis.redis),
        "sqlalchemy.engine.default": ("SQLAlchemy", sqlalchemy.sqlalchemy),
        "sqlite3": ("sqlite3", sqlite.sqlite),
        "sqlite3.dbapi2": ("sqlite3", sqlite.sqlite),
        "psycopg": ("psycopg", postgres.psycopg),
        "asyncpg.connection": ("asyncpg", postgres.asyncpg),
        "nats.aio.client": ("nats", nats.nats),
        "uvloop": ("uvloop", loops.uvloop),
        "concurrent.futures.process": ("process pools", threads.processes),
    },
)
