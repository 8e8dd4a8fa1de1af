"""``sandbox run``: the program's exit code, signals and environment, and what is left afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.calling import PROGRAM, Result
from tests.cli.fake_plane import CREDS, FakePlane, problem
from tests.cli.test_quoting import HOSTILE

Process = Callable[..., Result]
RUN = ["sandbox", "run", "x", "--"]


@pytest.fixture(autouse=True)
def running(plane: FakePlane, data_dir: Path) -> None:
    """There is a sandbox called x."""
    plane.add("x")


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -TERM $$"], 128 + 15),
        (["sh", "-c", "kill -KILL $$"], 128 + 9),
        (["no-such-program-at-all"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_the_exit_code_is_the_programs(process: Process, program: list[str], code: int) -> None:
    assert process(*RUN, *program).code == code


def test_the_environment_is_the_sandboxes_and_ours(
    process: Process, plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.env = HOSTILE
    monkeypatch.setenv("MINE", "kept")
    monkeypatch.setenv("DATABASE_URL", "production")
    show = "import os, json; e = dict(os.environ); e['creds'] = open(e['NATS_CREDS']).read(); print(json.dumps(e))"

    env = json.loads(process(*RUN, sys.executable, "-X", "utf8", "-c", show).out)

    assert {name: env[name] for name in HOSTILE} == HOSTILE
    assert (env["MINE"], env["DATABASE_URL"], env["creds"]) == ("kept", "postgresql://u:p@h/d", CREDS)
    assert not Path(env["NATS_CREDS"]).exists()


def test_options_of_the_program_are_its_own(process: Process) -> None:
    assert process("sandbox", "run", "x", "printf", "%s", "--json -q").out == "--json -q"
    assert process(*RUN, "printf", "%s", "--").out == "--"


def test_a_sandbox_that_does_not_exist(process: Process) -> None:
    assert process("sandbox", "run", "nobody", "--", "touch", "hit").code == 1
    assert not Path("hit").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_program(number: signal.Signals) -> None:
    script = "trap 'echo caught; exit 42' INT TERM HUP USR1; echo up; while :; do sleep 0.02; done"
    with subprocess.Popen([*PROGRAM, *RUN, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as ours:
        try:
            assert ours.stdout is not None
            assert ours.stdout.readline() == "up\n"
            ours.send_signal(number)
            assert ours.wait(10) == 42
            assert ours.stdout.read() == "caught\n"
        finally:
            ours.kill()


def test_a_program_that_a_signal_ends_through_us() -> None:
    with subprocess.Popen([*PROGRAM, *RUN, "sh", "-c", "echo up; exec sleep 30"], stdout=subprocess.PIPE) as ours:
        assert ours.stdout is not None
        ours.stdout.readline()
        ours.send_signal(signal.SIGINT)
        assert ours.wait(10) == 130


def test_new_makes_one_and_destroys_it(process: Process, plane: FakePlane) -> None:
    result = process("sandbox", "run", "--new", "--ttl", "30m", "--", "sh", "-c", "echo $SANDBOX_NAME; exit 3")

    assert (result.code, result.out) == (3, "ada-brave-otter\n")
    created = next(body for method, _, _, body, _ in plane.seen if method == "POST")
    assert created["ttl"] == "30m"
    assert [s["status"] for s in plane.sandboxes.values()] == ["running", "destroying"]


def test_new_is_destroyed_when_the_program_is_not_found(process: Process, plane: FakePlane) -> None:
    assert process("sandbox", "run", "--new", "--", "no-such-program").code == 127
    assert list(plane.sandboxes.values())[-1]["status"] == "destroying"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_new_is_destroyed_on_ctrl_c(plane: FakePlane, number: signal.Signals) -> None:
    command = [*PROGRAM, "sandbox", "run", "--new", "--", "sh", "-c", "echo up; exec sleep 30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as ours:
        assert ours.stdout is not None
        ours.stdout.readline()
        ours.send_signal(number)
        assert ours.wait(10) == 128 + number
    assert list(plane.sandboxes.values())[-1]["status"] == "destroying"


def test_ctrl_c_while_it_is_made_leaves_nothing(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = plane.answer

    def slow(method: str, *rest: object) -> object:
        if method == "POST":
            os.kill(ours.pid, signal.SIGINT)
            time.sleep(0.2)
        return answer(method, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(plane, "answer", slow)
    with subprocess.Popen([*PROGRAM, "sandbox", "run", "--new", "--", "touch", "hit"]) as ours:
        assert ours.wait(10) == 130

    assert list(plane.sandboxes.values())[-1]["status"] == "destroying"
    assert not Path("hit").exists()


def test_a_failed_destruction_is_told_and_keeps_the_exit_code(process: Process, plane: FakePlane) -> None:
    answer = plane.answer

    def broken(method: str, *rest: object) -> object:
        return problem(500, "internal", "boom") if method == "DELETE" else answer(method, *rest)  # type: ignore[arg-type]

    plane.answer = broken  # type: ignore[method-assign, assignment]

    result = process("sandbox", "run", "--new", "--", "sh", "-c", "exit 5")

    assert result.code == 5
    assert "was not destroyed (boom)" in result.err
