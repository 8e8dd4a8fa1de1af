"""The block itself: what it leaves alone, what it keeps, what it gives back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import http.client
import os
import signal
import smtplib
import socket
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpcore
import httpx
import psycopg
import pytest
import redis
import redis.connection
import requests
import requests.adapters
import sqlalchemy as sa
from tests.guard.egress.world import Web, World, need_kernel, soon

from valhalla.guard.egress import EgressBlocked, Layer, SealMisuse, SealTimeout, sealed
from valhalla.guard.egress.contracts import MAX_ATTEMPTS
from valhalla.guard.egress.kernel.helping import HELPING
from valhalla.kernel.problems import Invalid, Problem

PYTHON = [Layer.PROTOCOL, Layer.AUDIT]


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_an_attempt_says_what_and_where_without_secrets(web: Web) -> None:
    with sealed() as seal, pytest.raises(EgressBlocked) as caught:
        requests.post(f"{web.url}?token=abc&a=1", json={"amount": 3, "card": "4111 1111 1111 1111", "password": "x"})

    attempt = seal.attempts[0]
    assert (attempt.what, attempt.layer, attempt.verdict) == ("POST", Layer.PROTOCOL, "blocked")
    assert attempt.where == f"{web.url}?token=***&a=1"
    assert attempt.size == 61
    assert attempt.excerpt == '{"amount": 3, "card": "***", "password": "***"}'
    assert isinstance(caught.value, (Problem, PermissionError))
    assert (caught.value.errno, caught.value.code) == (1, "egress-blocked")


@pytest.mark.parametrize("client", ["requests", "httpx", "urllib"])
def test_reads_pass_the_protocol_layer_and_are_kept(web: Web, client: str) -> None:
    with requests.Session() as session, httpx.Client() as other:
        session.get(web.url)
        other.get(web.url)
        kept = http.client.HTTPConnection("127.0.0.1", web.port)
        kept.connect()
        with sealed(layers=PYTHON) as seal:
            if client == "urllib":
                kept.request("GET", "/pay")
                kept.getresponse().read()
            else:
                assert (session if client == "requests" else other).get(web.url).status_code == 200
        kept.close()

    assert {(attempt.what, attempt.verdict) for attempt in seal.attempts} == {("GET", "read")}
    assert seal.blocked == ()


def test_an_allowed_endpoint_takes_anything(web: Web, world: World) -> None:
    before = web.posts
    with sealed([f"localhost:{web.port}"]) as seal:
        requests.post(web.url, data=b"x")
        httpx.post(web.url, content=b"x")
        with pytest.raises(EgressBlocked):
            connect(world.mail.port)

    assert web.posts == before + 2
    assert [attempt.where for attempt in seal.attempts] == [f"127.0.0.1:{world.mail.port}"]


def test_an_endpoint_for_reads_takes_reads_only(web: Web) -> None:
    before = web.posts
    with sealed(reads=[web.url]):
        assert requests.get(web.url).status_code == 200
        with pytest.raises(EgressBlocked):
            requests.post(web.url, data=b"x")
    assert web.posts == before


def test_nothing_is_let_through_to_a_wrong_endpoint() -> None:
    for wrong in ("host", "", "http://", "host:port", ":80"):
        with pytest.raises(Invalid):
            sealed([wrong])


def test_everything_is_restored_exactly() -> None:
    places = [
        (http.client.HTTPConnection, "request"),
        (httpcore.ConnectionPool, "handle_request"),
        (requests.adapters.HTTPAdapter, "send"),
        (smtplib.SMTP, "sendmail"),
        (redis.connection.AbstractConnection, "send_packed_command"),
        (psycopg.BaseConnection, "_connect_gen"),
        (psycopg.Cursor, "execute"),
        (sqlite3, "connect"),
        (threading.Thread, "start"),
        (ThreadPoolExecutor, "submit"),
        (ThreadPoolExecutor, "__init__"),
    ]
    before = [vars(owner)[name] for owner, name in places]
    finders = list(sys.meta_path)

    with sealed():
        assert all(vars(owner)[name] is not old for (owner, name), old in zip(places, before, strict=True))
        with sealed():
            pass
        assert vars(smtplib.SMTP)["sendmail"] is not before[3]

    assert [vars(owner)[name] for owner, name in places] == before
    assert sys.meta_path == finders


def test_what_somebody_else_wrapped_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with sealed():
        inner = smtplib.SMTP.sendmail

        def theirs(*args: object) -> object:
            return inner(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(smtplib.SMTP, "sendmail", theirs)
    assert vars(smtplib.SMTP)["sendmail"] is theirs


def test_a_library_that_is_imported_inside_gets_its_hooks() -> None:
    script = """
import sys
from valhalla.guard.egress import sealed, EgressBlocked
assert "smtplib" not in sys.modules
with sealed() as seal:
    import smtplib
    assert "smtplib" in seal.coverage.layers["L2"].reason
    hooked = smtplib.SMTP.sendmail
assert smtplib.SMTP.sendmail is not hooked
assert type(smtplib.__spec__.loader).__name__ == "SourceFileLoader" is not None
assert smtplib.__loader__ is smtplib.__spec__.loader
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_guard_costs_no_library_its_import() -> None:
    loaded = "[m for m in ('httpx', 'redis', 'sqlalchemy', 'psycopg', 'multiprocessing') if m in sys.modules]"
    script = f"import sys, valhalla.guard.egress; print({loaded})"
    done = subprocess.run([sys.executable, "-c", script], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_other_threads_and_tasks_go_on(web: Web) -> None:
    inside, finished = threading.Event(), threading.Event()
    results: list[int] = []

    def other() -> None:
        inside.wait(10)
        results.append(requests.post(web.url, data=b"x").status_code)
        finished.set()

    thread = threading.Thread(target=other)
    thread.start()
    with sealed() as seal:
        inside.set()
        assert finished.wait(10)
    thread.join()
    assert (results, seal.attempts) == ([200], ())


async def test_an_async_block_is_its_own_task_alone(web: Web) -> None:
    inside, finished = asyncio.Event(), asyncio.Event()

    async def other() -> int:
        await inside.wait()
        async with httpx.AsyncClient() as client:
            answer = await client.post(web.url, content=b"x")
        finished.set()
        return answer.status_code

    task = asyncio.create_task(other())
    async with sealed() as seal:
        inside.set()
        await finished.wait()
        with pytest.raises(EgressBlocked):
            async with httpx.AsyncClient() as client:
                await client.post(web.url, content=b"x")
    assert (await task, len(seal.attempts)) == (200, 1)


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


def test_a_pool_is_not_poisoned_by_a_task_from_inside(web: Web) -> None:
    with ThreadPoolExecutor(1) as pool:
        with sealed():
            # the pool's one worker is born here
            with pytest.raises(EgressBlocked):
                pool.submit(connect, web.port).result()
            worker = pool.submit(threading.get_ident).result()
        pool.submit(connect, web.port).result()
        assert pool.submit(threading.get_ident).result() == worker


def test_what_begins_inside_stays_sealed_after_the_block(web: Web) -> None:
    leave = threading.Event()
    raised: list[BaseException] = []

    def late() -> None:
        leave.wait(10)
        try:
            connect(web.port)
        except OSError as error:
            raised.append(error)

    with sealed() as seal:
        thread = threading.Thread(target=late)
        thread.start()
    leave.set()
    thread.join()
    assert [type(error) for error in raised] == [EgressBlocked]
    assert len(seal.attempts) == 1


def test_processes_of_a_pool_are_out_of_reach() -> None:
    with concurrent.futures.ProcessPoolExecutor(1) as pool, sealed(), pytest.raises(EgressBlocked):
        pool.submit(os.getpid)


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


def test_a_deadline_ends_the_wait() -> None:
    release = threading.Event()
    with sealed() as seal, pytest.raises(SealTimeout) as caught:
        seal.run(lambda: release.wait(30), deadline=0.05)
    release.set()
    assert isinstance(caught.value, TimeoutError)


def test_run_gives_back_values_and_exceptions() -> None:
    with sealed() as seal:
        assert seal.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            seal.run(lambda: 1 / 0)
        with pytest.raises(SystemExit):
            seal.run(lambda: sys.exit(3))


def test_nested_seals_both_have_to_allow(web: Web, world: World) -> None:
    with sealed([web.url]) as outer:
        with sealed([web.url, f"127.0.0.1:{world.mail.port}"]) as inner:
            connect(web.port)
            with pytest.raises(EgressBlocked):
                connect(world.mail.port)
        connect(web.port)
    assert len(outer.attempts) == len(inner.attempts) == 1
    connect(world.mail.port)


def test_attempts_are_bounded() -> None:
    with sealed(layers=[Layer.AUDIT]) as seal:
        for _ in range(MAX_ATTEMPTS + 5):
            with pytest.raises(EgressBlocked):
                os.kill(os.getpid(), 10)
    assert (len(seal.attempts), seal.dropped) == (MAX_ATTEMPTS, 5)


def test_a_seal_is_used_once_and_inside() -> None:
    seal = sealed()
    with pytest.raises(SealMisuse):
        seal.run(int)
    with seal:
        pass
    with pytest.raises(SealMisuse), seal:
        pass


def test_a_seal_that_is_left_elsewhere_seals_nobody_for_ever(web: Web) -> None:
    seal = sealed()
    context = contextvars.copy_context()
    context.run(seal.__enter__)
    with pytest.raises(EgressBlocked):
        context.run(connect, web.port)
    seal.__exit__(None, None, None)
    context.run(connect, web.port)


def test_files_change_only_in_named_directories(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)

    def body() -> None:
        (inside / "a").write_text("x")
        (inside / "a").rename(inside / "b")
        (inside / "b").unlink()
        with pytest.raises(EgressBlocked):
            (outside / "a").write_text("x")
        with pytest.raises(EgressBlocked):
            (inside / "link" / "a").write_text("x")
        with Path(os.devnull).open("w") as nothing:
            nothing.write("x")

    with sealed(files=[inside]) as seal:
        body()
        seal.run(body)
    assert list(outside.iterdir()) == []
    assert len(seal.blocked) == 4


def test_coverage_says_what_is_missing_and_why() -> None:
    with sealed(layers=PYTHON) as seal:
        pass
    assert seal.coverage.active == (Layer.PROTOCOL, Layer.AUDIT)
    assert seal.coverage.document()["L4"] == {"active": False, "reason": "not asked for"}
    assert "requests" in seal.coverage.layers[Layer.PROTOCOL].reason
    with sealed() as seal:
        pass
    assert "seal.run" in seal.coverage.layers[Layer.KERNEL].reason


def test_names_are_not_asked_for() -> None:
    with sealed(["db.invalid:5432"]) as seal:
        for ask in (socket.getaddrinfo, lambda name, _: socket.gethostbyname(name)):
            with pytest.raises(EgressBlocked):
                ask("elsewhere.invalid", 80)
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("db.invalid", 80)
        assert socket.getaddrinfo("localhost", 80)
    assert {attempt.where for attempt in seal.attempts} == {"elsewhere.invalid"}


def test_postgres_reads_run_read_only(world: World) -> None:
    """A function may write whatever its name: the transaction does not let it."""
    with psycopg.connect(world.postgres, autocommit=True) as admin:
        admin.execute("CREATE OR REPLACE FUNCTION public.harmless() RETURNS int LANGUAGE plpgsql AS "
                      "$$ BEGIN CREATE TABLE public.sneaked (i int); RETURN 1; END $$")  # fmt: skip
    connection = world.closing(psycopg.connect(world.postgres))
    engine = sa.create_engine(world.postgres.replace("postgresql:", "postgresql+psycopg:"))
    world.closers.append(engine.dispose)
    engine.connect().close()
    with sealed(reads=[world.postgres]):
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("SELECT public.harmless()")
        connection.rollback()
        with engine.connect() as one, pytest.raises(sa.exc.InternalError, match="read-only"):
            one.exec_driver_sql("SELECT public.harmless()")
        with pytest.raises(EgressBlocked):
            connection.execute("SELECT pg_notify('a', 'b')")
        connection.rollback()
    # and leaves nothing behind in what is pooled
    with engine.begin() as one:
        one.exec_driver_sql("SELECT public.harmless()")
        one.exec_driver_sql("DROP TABLE public.sneaked")


def test_sqlite_reads_only_while_sealed(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.begin() as one:
        one.exec_driver_sql("CREATE TABLE t (i int)")
        one.exec_driver_sql("INSERT INTO t VALUES (1)")
    with sealed(layers=[Layer.PROTOCOL]) as seal:
        with engine.begin() as one:
            assert one.exec_driver_sql("SELECT i FROM t").scalar_one() == 1
            with pytest.raises(sa.exc.DatabaseError, match="not authorized"):
                one.exec_driver_sql("INSERT INTO t VALUES (2)")
        with sqlite3.connect(tmp_path / "a.db") as bare, pytest.raises(sqlite3.DatabaseError):
            bare.execute("DELETE FROM t")
        sqlite3.connect(":memory:").execute("CREATE TABLE free (i int)")
    assert [attempt.what for attempt in seal.blocked] == ["SQLite INSERT t", "SQLite DELETE t"]
    with engine.begin() as one:
        one.exec_driver_sql("INSERT INTO t VALUES (3)")
        assert one.exec_driver_sql("SELECT count(*) FROM t").scalar_one() == 2
    engine.dispose()


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
