"""What a command line's end tells a script, and its messages a person."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.calling import PROGRAM, Result, write_control
from tests.cli.fake_plane import FakePlane, problem

Valhalla = Callable[..., Result]

READS = [
    ["sandbox", "ls"],
    ["sandbox", "status", "x"],
    ["sandbox", "env", "x"],
    ["sandbox", "run", "x", "--", "true"],
    ["sandbox", "psql", "x"],
    ["sandbox", "audit", "x"],
    ["sandbox", "new"],
    ["sandbox", "extend", "x", "1h"],
    ["sandbox", "link", "x", "k:v"],
    ["sandbox", "unlink", "x", "k:v"],
    ["sandbox", "rm", "-y", "x"],
    ["sandbox", "reap"],
    ["key", "ls"],
    ["key", "new", "--owner", "a", "--scope", "admin"],
    ["key", "revoke", "k1"],
    ["ledger", "ls"],
    ["ledger", "verify"],
    ["info"],
    ["status"],
]


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_nothing_runs(valhalla: Valhalla, words: list[str]) -> None:
    result = valhalla(*words)

    assert (result.code, result.out) == (3, "")
    assert "valhalla up" in result.err


@pytest.mark.parametrize("words", [w for w in READS if w != ["status"]], ids=" ".join)
def test_a_refusal(plane: FakePlane, data_dir: Path, valhalla: Valhalla, words: list[str]) -> None:
    plane.script = [problem(403, "forbidden", "this needs the scope 'admin'")]

    result = valhalla(*words)

    assert (result.code, result.out) == (1, "")
    lines = ["Error: The title of forbidden", "  why:  this needs the scope 'admin'", "  next: Do the other thing."]
    assert result.err.splitlines() == lines


@pytest.mark.parametrize("before", [True, False])
def test_a_refusal_as_json(plane: FakePlane, data_dir: Path, valhalla: Valhalla, before: bool) -> None:
    words = ["sandbox", "status", "gone"]

    result = valhalla("--json", *words) if before else valhalla(*words, "--json")

    assert (result.code, result.out) == (1, "")
    assert {k: json.loads(result.err)[k] for k in ("code", "status")} == {"code": "sandbox-not-found", "status": 404}


def test_being_unreachable_as_json(valhalla: Valhalla) -> None:
    result = valhalla("sandbox", "ls", "--json")

    assert json.loads(result.err)["code"] == "unreachable"


def test_a_stale_record_says_so(tmp_path: Path, valhalla: Valhalla) -> None:
    write_control(tmp_path / "d", "http://127.0.0.1:1", os.getpid(), 1)

    result = valhalla("--data-dir", str(tmp_path / "d"), "sandbox", "ls")

    assert result.code == 3
    assert "has ended" in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sandbox", "new", "--ttl", "24"], "write 24h"),
        (["sandbox", "new", "--ttl", "24.0"], "has no unit"),
        (["sandbox", "extend", "x", "24"], "write 24h"),
        (["sandbox", "new", "--route", "discord.guild"], "write KIND:KEY"),
        (["sandbox", "new", "--meta", "k"], "is not KEY=VALUE"),
        (["sandbox", "new", "--meta", "k=1", "--meta", "k=2"], "given twice"),
        (["sandbox", "lst"], "Did you mean 'list' or 'ls'"),
        (["sandbx"], "Did you mean 'sandbox'"),
        (["nothing-like-it"], "There is no command"),
        (["sandbox", "ls", "--nope"], "No such option"),
        (["sandbox", "status"], "Missing argument"),
        (["sandbox", "rm", "x"], "add -y"),
        (["sandbox", "rm", "-y"], "Missing argument"),
        (["sandbox", "run"], "Which sandbox"),
        (["sandbox", "run", "x"], "Run what"),
        (["sandbox", "run", "x", "--json"], "options come before the name"),
        (["sandbox", "run", "--ttl", "1h", "x", "--", "true"], "need --new"),
        (["sandbox", "run", "--new"], "Run what"),
        (["key", "new", "--owner", "a", "--scope", "admin", "--expires-in", "soon"], "is no duration"),
        (["key", "new", "--scope", "admin"], "Missing option"),
        (["up", "--set", "x"], "is not NAME=VALUE"),
        (["up", "--port", "70000"], "not in the range"),
    ],
)
def test_usage(plane: FakePlane, data_dir: Path, valhalla: Valhalla, words: list[str], said: str) -> None:
    result = valhalla(*words)

    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert plane.seen == []


def test_odd_lifetimes_are_for_the_plane_to_judge(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    for text in ("-1h", "NaN", "1h30m", "$(touch x)"):
        plane.script = [problem(422, "invalid-request", "no TTL")]
        assert valhalla("sandbox", "new", "--ttl", text).code == 1
        assert text == plane.seen[-1][3]["ttl"]


def test_ctrl_c(plane: FakePlane, data_dir: Path, valhalla: Valhalla, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    plane.add("x")
    monkeypatch.setattr("time.sleep", interrupt)

    result = valhalla("sandbox", "status", "--watch", "x")

    assert (result.code, result.err) == (130, "")


def test_a_fault_of_ours_shows_no_traceback(
    data_dir: Path, valhalla: Valhalla, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("valhalla.cli.commands.info.emit", fail)

    result = valhalla("info", "--json")

    assert result.code == 1
    assert {"code": "internal", "detail": "RuntimeError: boom"}.items() <= json.loads(result.err).items()


def test_a_reader_that_has_seen_enough(plane: FakePlane, data_dir: Path) -> None:
    for number in range(300):
        plane.add(f"sandbox-with-a-long-name-{number:050d}")
    with subprocess.Popen([*PROGRAM, "sandbox", "ls"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(10) == 141


def test_text_from_elsewhere_cannot_steer_the_terminal(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.script = [problem(409, "conflict", "\x1b[2Jbad\nError: faked")]

    result = valhalla("sandbox", "status", "x")

    assert "\x1b" not in result.err
    assert len(result.err.splitlines()) == 3
