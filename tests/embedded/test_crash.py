"""What is left when the parent dies, and how the next start deals with it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from valhalla.embedded import Stack, identity, launch
from valhalla.embedded.lock import DataDirLock
from valhalla.embedded.records import Record, end_previous

MakeStack = Callable[..., Stack]

PARENT = str(Path(__file__).with_name("parent.py"))
ALL = "postgres,valkey,nats"


@contextmanager
def parent(data_dir: Path, want: str, *options: str, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run a process that runs a stack."""
    command = [*prefix, sys.executable, PARENT, str(data_dir), want, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def pids_of(process: subprocess.Popen[str]) -> dict[str, int]:
    """Read the servers' pids once they all run."""
    assert process.stdout
    return json.loads(process.stdout.readline())


def gone(pids: dict[str, int], seconds: float = 5) -> list[str]:
    """Wait; return the names of those that still run."""
    deadline = time.monotonic() + seconds
    while (left := [n for n, pid in pids.items() if identity.started(pid)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def test_killing_the_parent_ends_the_children(make_stack: MakeStack, data_dir: Path) -> None:
    """After SIGKILL of the parent no server is left, and the next start works."""
    with parent(data_dir, ALL) as process:
        pids = pids_of(process)
        assert set(pids) == {"postgres", "valkey", "nats"}
        process.kill()
        process.wait()
        assert gone(pids) == []
    stack = make_stack()
    endpoints = stack.start(settle=False)
    assert endpoints.postgres_superuser_url
    psycopg.connect(endpoints.postgres_superuser_url).close()


@pytest.mark.slow
def test_a_start_right_after_the_kill_waits_for_the_old_servers(make_stack: MakeStack, data_dir: Path) -> None:
    """The old servers may still be on their way out."""
    with parent(data_dir, ALL) as process:
        pids = pids_of(process)
        process.kill()
        process.wait()
        make_stack().start(settle=False)
        assert gone(pids, 0) == []


def test_orphans_are_ended(make_stack: MakeStack, data_dir: Path) -> None:
    """Servers that outlived their parent are ended before new ones start on the same ports."""
    with parent(data_dir, ALL, "orphans") as process:
        pids = pids_of(process)
        ports = json.loads((data_dir / "ports.json").read_text())
        process.kill()
        process.wait()
        time.sleep(0.2)
        assert set(gone(pids, 0)) == set(pids)
        make_stack().start(settle=False)
        assert gone(pids, 0) == []
    assert json.loads((data_dir / "ports.json").read_text()) == ports


def test_an_orphan_without_a_note_is_found_by_its_lock_file(make_stack: MakeStack, data_dir: Path) -> None:
    """A Postgres whose note was lost is known by its program and folder."""
    with parent(data_dir, "postgres", "orphans") as process:
        pids = pids_of(process)
        process.kill()
        process.wait()
        (data_dir / "run" / "postgres.json").unlink()
        make_stack("postgres").start()
        assert gone(pids, 0) == []


def test_a_stranger_is_never_killed(tmp_path: Path) -> None:
    """A note matches only with id, start and program; each alone is somebody else."""
    note = tmp_path / "nats.json"
    with subprocess.Popen(["sleep", "60"]) as stranger:
        started, program = identity.started(stranger.pid), identity.program(stranger.pid)
        assert started
        assert program
        for record in (Record(stranger.pid, "boot:1", program), Record(stranger.pid, started, "/usr/bin/nats-server")):
            note.write_text(json.dumps({"pid": record.pid, "started": record.started, "program": record.program}))
            end_previous(note, ((signal.SIGKILL, 1),))
            assert not note.exists()
            assert stranger.poll() is None
        note.write_text("{half a no")
        end_previous(note, ((signal.SIGKILL, 1),))
        assert stranger.poll() is None
        note.write_text(json.dumps({"pid": stranger.pid, "started": started, "program": program}))
        end_previous(note, ((signal.SIGKILL, 1),))
        assert stranger.wait(1) == -signal.SIGKILL


def test_a_stranger_with_the_id_in_the_lock_file(make_stack: MakeStack, data_dir: Path) -> None:
    """Postgres starts although the process id in its old lock file runs, as somebody else's."""
    stack = make_stack("postgres")
    stack.start()
    lock = data_dir / "postgres" / "cluster" / "postmaster.pid"
    text = lock.read_text()
    stack.stop()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        lock.write_text("\n".join([str(stranger.pid), *text.splitlines()[1:]]) + "\n")
        stack.start()
        assert stranger.poll() is None
        stranger.kill()


def test_postgres_recovers_from_a_kill_with_a_busy_session(make_stack: MakeStack) -> None:
    """A session that outlives its server does not keep the next one out, and what was committed is there."""
    stack = make_stack("postgres")
    url = stack.start().postgres_superuser_url
    assert url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    busy = psycopg.connect(url)
    worker = threading.Thread(target=_ask, args=(busy, "SELECT count(*) FROM generate_series(1, 10000000000)"))
    worker.start()
    time.sleep(0.2)
    os.kill(stack.pids()["postgres"], signal.SIGKILL)
    time.sleep(0.1)
    stack.restart("postgres")
    worker.join(5)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def _ask(connection: psycopg.Connection[object], question: str) -> None:
    with contextlib.suppress(psycopg.OperationalError):
        connection.execute(question.encode())
    connection.close()


def test_a_signal_handler_stops_in_order(data_dir: Path) -> None:
    """SIGTERM of the parent, which stops in its handler, leaves nothing and no note."""
    with parent(data_dir, ALL) as process:
        pids = pids_of(process)
        process.terminate()
        assert process.wait(30) == 0
        assert gone(pids, 0) == []
    assert list((data_dir / "run").iterdir()) == []


@pytest.mark.parametrize("delay", [0.05, 0.3])
def test_a_signal_while_starting(data_dir: Path, delay: float) -> None:
    """A stop in the middle of a start leaves no process behind."""
    with parent(data_dir, ALL) as process:
        deadline = time.monotonic() + 5
        while not (data_dir / "lock").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(delay)
        process.terminate()
        process.wait(30)
    left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if _mentions(p, str(data_dir))]
    assert left == []


def _mentions(cmdline: Path, text: str) -> bool:
    try:
        return text.encode() in cmdline.read_bytes()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("when", ["half-way", "password-file"])
def test_an_interrupted_initdb_is_done_again(make_stack: MakeStack, data_dir: Path, when: str) -> None:
    """A cluster has its name only when it is whole; what a killed initdb left is removed."""
    with parent(data_dir, "postgres") as process:
        deadline = time.monotonic() + 5
        wanted = "staged-*/PG_VERSION" if when == "half-way" else "staged-*.password"
        while not list((data_dir / "postgres").glob(wanted)) and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
        process.wait()
    assert not (data_dir / "postgres" / "cluster").exists()
    endpoints = make_stack("postgres").start()
    assert list((data_dir / "postgres").iterdir()) == [data_dir / "postgres" / "cluster"]
    assert endpoints.postgres_superuser_url
    psycopg.connect(endpoints.postgres_superuser_url).close()


def test_a_child_caught_between_fork_and_exec_delays_the_next_owner(data_dir: Path) -> None:
    """A dead holder's child shares its lock for a moment; that is no second owner."""
    data_dir.mkdir()
    program = (
        "import os, sys, time; from pathlib import Path; from valhalla.embedded.lock import DataDirLock\n"
        "DataDirLock(Path(sys.argv[1])).acquire()\n"
        "if os.fork(): print('held', flush=True); os._exit(0)\n"
        "time.sleep(0.5)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(data_dir)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        assert process.wait(30) == 0
        lock = DataDirLock(data_dir)
        lock.acquire()
        lock.release()


@pytest.mark.slow
@pytest.mark.usefixtures("as_root")
def test_an_ordinary_user_needs_no_root(data_dir: Path) -> None:
    """Everything runs under the user's own id."""
    data_dir.mkdir()
    os.chown(data_dir, 65534, 65534)
    # the launcher gives the test's own interpreter a way into folders that are closed to that user
    prefix = (sys.executable, "-I", "-S", launch.__file__, "15", str(os.getpid()), "65534:65534", "0")
    with parent(data_dir, ALL, prefix=prefix) as process:
        pids = pids_of(process)
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids.values()} == {65534}
        process.terminate()
        assert process.wait(30) == 0
        assert gone(pids, 0) == []
