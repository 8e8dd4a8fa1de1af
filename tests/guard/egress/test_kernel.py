"""What the kernel holds for the block: whole calls, C libraries too, by a helper that may be lost."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
import redis
import redis.connection
from tests.guard.egress.world import Web, World, connect, need_kernel, soon

from valhalla.guard.egress import EgressBlocked, Layer, sealed
from valhalla.guard.egress.kernel.helping import HELPING


async def test_arun_holds_a_coroutine_in_the_kernel(web: Web) -> None:
    need_kernel()

    async def body() -> str:
        # the executor belongs to the loop of the call, so it may be used
        await asyncio.to_thread(int)
        async with httpx.AsyncClient() as client:
            await client.post(web.url, content=b"x")
        return "sent"

    async with sealed(layers=[Layer.KERNEL]) as seal:
        with pytest.raises(httpx.ConnectError):
            await seal.arun(body)
    async with sealed([web.url]) as seal:
        assert await seal.arun(body) == "sent"
    assert seal.coverage.active == (Layer.PROTOCOL, Layer.AUDIT, Layer.KERNEL)


def test_the_kernel_layer_refuses_pools_from_before_and_takes_its_own(web: Web) -> None:
    need_kernel()

    def own() -> str:
        with ThreadPoolExecutor(1) as mine:
            with pytest.raises(OSError, match=r"blocked|Operation not permitted"):
                mine.submit(connect, web.port).result()
            return mine.submit(str, 7).result()

    with ThreadPoolExecutor(1) as pool:
        with sealed() as seal:
            assert seal.run(own) == "7"
            with pytest.raises(EgressBlocked, match="hand to a pool"):
                seal.run(lambda: pool.submit(connect, web.port))
        # no worker was born under the filter
        pool.submit(connect, web.port).result()


def test_the_kernel_layer_lets_allowed_connections_through(web: Web, world: World) -> None:
    """BPF cannot read an address: a supervisor makes the connection, also for C libraries."""
    need_kernel()

    def body() -> int:
        with psycopg.connect(world.postgres, connect_timeout=5) as connection:
            row = connection.execute("SELECT 40 + 2").fetchone()
        assert row is not None
        socket.create_connection(("127.0.0.1", web.port)).close()
        return row[0]

    with sealed([world.postgres, f"127.0.0.1:{web.port}"]) as seal:
        assert seal.run(body) == 42
    assert seal.attempts == ()
    with sealed([world.postgres], layers=[Layer.KERNEL]) as seal, pytest.raises(PermissionError):
        seal.run(body)
    assert [(a.what, a.where, a.layer) for a in seal.attempts] == [("connect", f"127.0.0.1:{web.port}", Layer.KERNEL)]


def test_open_connections_to_allowed_endpoints_stay_usable_in_the_kernel(world: World) -> None:
    need_kernel()
    client = redis.Redis.from_url(world.valkey)
    client.ping()
    with sealed([world.valkey]) as seal:
        assert seal.run(lambda: client.set("kept", "1")) is True
    client.delete("kept")
    client.close()


def test_a_read_that_the_kernel_would_swallow_fails_at_once(world: World) -> None:
    need_kernel()
    connection = world.closing(psycopg.connect(world.postgres))
    with sealed() as seal, pytest.raises(EgressBlocked):
        seal.run(lambda: connection.execute("SELECT 1"), deadline=20)
    with sealed(reads=[world.postgres]) as seal:
        assert seal.run(lambda: connection.execute("SELECT 1").fetchone()) == (1,)


def test_a_sandbox_of_threads_ends_with_its_block(web: Web) -> None:
    """A hundred blocks leave no thread, no descriptor and no filter behind."""
    before, threads = len(os.listdir("/dev/fd")), threading.active_count()  # noqa: PTH208
    for _ in range(100):
        with sealed([web.url]) as seal:
            seal.run(lambda: None)
    assert soon(lambda: threading.active_count() <= threads)
    assert len(os.listdir("/dev/fd")) <= before + 2  # noqa: PTH208
    connect(web.port)


def test_a_lost_helper_lets_nothing_through_and_is_replaced(web: Web) -> None:
    need_kernel()
    with sealed([web.url]) as seal:
        seal.run(lambda: connect(web.port))
        # the block itself may signal nobody
        contextvars.Context().run(os.kill, HELPING._pid, signal.SIGKILL)
        soon(lambda: Path(f"/proc/{HELPING._pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        with pytest.raises(OSError, match="not implemented"):
            seal.run(lambda: connect(web.port))
        assert "no connection can be made" in seal.coverage.layers[Layer.KERNEL].reason
        seal.run(lambda: connect(web.port))


def test_a_fork_gets_a_helper_of_its_own(web: Web) -> None:
    need_kernel()
    script = f"""
import os, socket
from valhalla.guard.egress import sealed
def once():
    with sealed(["127.0.0.1:{web.port}"]) as seal:
        seal.run(lambda: socket.create_connection(("127.0.0.1", {web.port})).close(), deadline=20)
        assert seal.coverage.layers["L4"].active
once()
pid = os.fork()
once()
if pid:
    raise SystemExit(os.waitpid(pid, 0)[1])
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
