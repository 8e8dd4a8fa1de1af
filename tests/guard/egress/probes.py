"""The ways out, each with the verdict that every layer is expected to give, alone and together."""

from __future__ import annotations

import asyncio
import os
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import requests
from tests.guard.egress import library_ways as library
from tests.guard.egress import system_ways as system
from tests.guard.egress.ways import Way, connects, posts
from tests.guard.egress.world import World


@dataclass(frozen=True)
class Probe:
    """``prepare`` opens what has to be open before; ``verdicts`` are those of L2, L3, L4 and all together:
    ``b`` blocked, ``p`` passes, ``h`` blocked, and the client hangs until the deadline."""

    name: str
    verdicts: str
    prepare: Callable[[World], Way]


PROBES = [
    Probe("requests, new", "bbbb", lambda w: posts(w, lambda: requests.post(w.web.url, data=b"x", timeout=10))),
    Probe("requests, kept alive", "bbbb", library.requests_kept),
    Probe("urllib", "bbbb", lambda w: posts(w, lambda: urllib.request.urlopen(w.web.url, b"x", timeout=10).read())),
    Probe("httpx, new", "bbbb", lambda w: posts(w, lambda: httpx.post(w.web.url, content=b"x", timeout=10))),
    Probe("httpx, kept alive", "bpbb", library.httpx_kept),
    Probe("httpx, async", "bbbb", lambda w: posts(w, lambda: asyncio.run(library.httpx_async(w.web.url)))),
    Probe("aiohttp", "bbbb", lambda w: posts(w, lambda: asyncio.run(library.aiohttp_post(w.web.url)))),
    Probe("smtplib, new", "bbbb", library.smtp_new),
    Probe("smtplib, kept open", "bbbb", library.smtp_kept),
    Probe("redis, new", "bbbb", library.redis_new),
    Probe("redis, pooled", "bpbb", library.redis_kept),
    Probe(
        "redis, async",
        "bbbb",
        lambda w: Way(lambda: asyncio.run(library.redis_async(w.valkey)), library.redis_new(w).arrived),
    ),
    Probe("psycopg, new", "bpbb", library.psycopg_new),
    Probe("psycopg, open", "bphb", library.psycopg_kept),
    Probe("asyncpg, new", "bbbb", library.asyncpg_new),
    Probe("SQLAlchemy, pooled", "bphb", library.sqlalchemy_pooled),
    Probe("uvloop", "bpbb", library.uvloop_new),
    Probe("socket", "pbbb", lambda w: connects(w, lambda: system.connect(w.web.port))),
    Probe("datagram, sendto", "pbbb", system.datagram(lambda s, to: s.sendto(b"x", to))),
    Probe("datagram, sendmsg", "pbbb", system.datagram(lambda s, to: s.sendmsg([b"x"], [], 0, to))),
    Probe("subprocess", "pbbb", system.makes(lambda path: subprocess.run(["touch", path], check=True))),
    Probe("os.system", "pbbb", system.makes(lambda path: os.system(f"touch {path}"))),
    Probe(
        "os.posix_spawn",
        "pbbb",
        system.makes(lambda path: os.waitpid(os.posix_spawn("/bin/touch", ["t", path], {}), 0)),
    ),
    Probe("os.fork", "pbbb", system.makes(system.fork)),
    Probe("os.remove", "pbbb", system.vanishes(os.remove)),
    Probe("os.rename", "pbbb", system.vanishes(lambda path: os.rename(path, path + "2"))),  # noqa: PTH104
    Probe("open for writing", "pbpb", system.makes(lambda path: open(path, "w").close())),  # noqa: PTH123
    Probe("SQLite", "bpbb", system.sqlite_file),
    Probe("ctypes, connect", "ppbb", system.foreign),
    Probe("io_uring", "ppbb", system.ring),
    Probe("a new thread", "pbbb", system.new_thread),
    Probe("a worker from before", "pbbb", system.worker_from_before),
    Probe("an empty context", "ppbb", system.empty_context),
    Probe("write to an open socket", "ppbb", system.open_socket(lambda s: os.write(s.fileno(), b"x"))),
    Probe("send on an open socket", "ppbb", system.open_socket(lambda s: s.send(b"x"))),
    Probe("a copy of an open socket", "ppbb", system.open_socket(system.dup)),
]
