"""The stack as its user sees it, with real servers."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from valhalla.embedded import DataDirInUse, Endpoints, Stack, StartFailed
from valhalla.embedded.valkey import Valkey
from valhalla.kernel.problems import Misconfigured
from valhalla.kit.cellkey import CellKey

MakeStack = Callable[..., Stack]


def test_a_restart_keeps_data_and_urls(make_stack: MakeStack) -> None:
    """What was written is there after the next start, under the same URLs."""
    stack = make_stack()
    first = stack.start()
    assert first.postgres_superuser_url
    assert first.valkey_url
    with psycopg.connect(first.postgres_superuser_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with redis.Redis.from_url(first.valkey_url) as client:
        client.set("kept", "42")
    stack.stop()
    assert stack.alive() == {"postgres": False, "valkey": False, "nats": False}

    second = stack.start(settle=False)
    assert second == first
    with psycopg.connect(first.postgres_superuser_url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    stack.settle()
    with redis.Redis.from_url(first.valkey_url) as client:
        assert client.get("kept") == b"42"
    assert stack.alive() == {"postgres": True, "valkey": True, "nats": True}


@pytest.mark.slow
def test_two_data_directories_live_side_by_side(make_stack: MakeStack, data_dir: Path) -> None:
    """Two stacks share no port and no process."""
    one, two = make_stack(), make_stack(where=data_dir.with_name("other"))
    first, second = one.start(settle=False), two.start(settle=False)
    assert first.postgres_port != second.postgres_port
    assert {first.valkey_url, first.nats_url}.isdisjoint({second.valkey_url, second.nats_url})
    assert set(one.pids().values()).isdisjoint(two.pids().values())


def test_a_second_stack_on_the_same_directory_is_refused(make_stack: MakeStack) -> None:
    """The refusal names the process that holds the directory; the first stack runs on."""
    first = make_stack("nats")
    first.start()
    with pytest.raises(DataDirInUse, match=f"in use by process {os.getpid()}") as refused:
        make_stack("nats").start()
    assert refused.value.code == "data-dir-in-use"
    assert first.alive() == {"nats": True}
    first.stop()
    make_stack("nats").start()


def test_one_service_restarts_alone_from_a_thread_that_ends(make_stack: MakeStack) -> None:
    """The restarted server outlives the thread that asked for it, and the other keeps its process."""
    stack = make_stack("nats", "valkey")
    before, pids = stack.start(settle=False), stack.pids()
    thread = threading.Thread(target=stack.restart, args=("nats",))
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert stack.alive() == {"valkey": True, "nats": True}
    assert stack.pids()["valkey"] == pids["valkey"]
    assert stack.pids()["nats"] != pids["nats"]
    assert stack.endpoints == before


def test_a_server_that_ends_is_noticed(make_stack: MakeStack) -> None:
    """``alive`` tells which server is gone, and ``restart`` brings it back."""
    stack = make_stack("nats")
    stack.start()
    os.kill(stack.pids()["nats"], 9)
    deadline = time.monotonic() + 5
    while stack.alive() == {"nats": True} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stack.alive() == {"nats": False}
    stack.restart("nats")
    assert stack.alive() == {"nats": True}


def test_one_failure_stops_the_others(make_stack: MakeStack, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The problem names the service and shows its log; nothing is left running."""
    monkeypatch.setattr("valhalla.embedded.valkey._CONFIG", "no-such-directive\n")
    stack = make_stack("nats", "valkey")
    seen: list[int] = []
    monkeypatch.setattr(Valkey, "look", lambda self, child: seen.extend(stack.pids().values()) or "silent")
    with pytest.raises(StartFailed, match=r"valkey ended with status 1(.|\n)*no-such-directive") as failed:
        stack.start()
    assert failed.value.backend == "valkey"
    assert str(data_dir / "logs" / "valkey.log") in failed.value.detail
    assert len(failed.value.extra["log"]) <= 20
    assert seen
    assert [pid for pid in seen if Path(f"/proc/{pid}").exists()] == []
    make_stack("nats").start()


def test_a_silent_server_is_given_up(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that shows nothing is stopped after the time it has."""
    monkeypatch.setattr("valhalla.embedded.server.SILENCE", 0.2)
    monkeypatch.setattr(Valkey, "look", lambda self, child: "silent")
    with pytest.raises(StartFailed, match="valkey was not ready after"):
        make_stack("valkey").start()


def test_secrets_are_private(make_stack: MakeStack, data_dir: Path, cell: CellKey) -> None:
    """No file is open to others, no password is in a file, an argument list or a repr."""
    endpoints = make_stack().start(settle=False)
    secrets = [cell.password("embedded.postgres.superuser"), cell.password("embedded.valkey.admin")]
    for path in data_dir.rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_IMODE(mode) & 0o077 == 0, path
        if stat.S_ISREG(mode):
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes()
        except OSError:
            continue
        assert not any(secret.encode() in arguments for secret in secrets)
    assert not any(secret in repr(endpoints) for secret in secrets)
    assert "postgres:***@" in repr(endpoints)


def test_another_cell_key_is_refused(make_stack: MakeStack) -> None:
    """A cluster made with another key says so, instead of refusing every password."""
    stack = make_stack("postgres")
    stack.start()
    stack.stop()
    with pytest.raises(Misconfigured, match="another cell key"):
        make_stack("postgres", key=CellKey(b"x" * 32)).start()


def test_wants_are_checked(data_dir: Path, cell: CellKey) -> None:
    """An unknown service and NATS without trust are programming errors; no service at all is nothing to do."""
    with pytest.raises(ValueError, match="unknown services"):
        Stack(data_dir, cell, want=frozenset({"mysql"}))
    with pytest.raises(ValueError, match="nats_operator"):
        Stack(data_dir, cell)
    stack = Stack(data_dir, cell, want=frozenset())
    assert stack.start() == Endpoints()
    stack.stop()
    stack.stop()
