"""``sandbox env``: evaluated by real shells, and silent when there is nothing to enter."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.calling import Result
from tests.cli.fake_plane import CREDS, FakePlane, instant
from tests.cli.test_quoting import HOSTILE, PRINT

Valhalla = Callable[..., Result]


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_eval_of_the_real_command(shell: str, plane: FakePlane, data_dir: Path, tmp_path: Path) -> None:
    plane.env = HOSTILE
    plane.add("x")
    script = f'eval "$({sys.executable} -m valhalla.cli sandbox env x)"; exec {sys.executable} -c "$PRINT" "$@"'

    names = [*HOSTILE, "SANDBOX_NAME", "NATS_CREDS"]
    done = subprocess.run(
        [shell, "-c", script, shell, *names],
        env={**os.environ, "PRINT": PRINT, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )

    found = json.loads(done.stdout)
    assert {k: v for k, v in found.items() if k != "NATS_CREDS"} == HOSTILE | {"SANDBOX_NAME": "x"}
    assert Path(found["NATS_CREDS"]).read_text() == CREDS
    assert not (tmp_path / "hit").exists()
    assert done.stderr == b"# x expires in 3 h\n"


def test_stdout_holds_exports_only(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.add("x")

    result = valhalla("sandbox", "connect", "x", "-q")

    assert all(line.startswith("export ") for line in result.out.splitlines())
    assert result.err == ""


@pytest.mark.parametrize("status", ["pending", "creating", "expired", "destroying", "destroyed"])
def test_a_sandbox_that_does_not_run(plane: FakePlane, data_dir: Path, valhalla: Valhalla, status: str) -> None:
    plane.add("x", status=status)
    plane.drops_late = True

    result = valhalla("sandbox", "env", "x")

    assert (result.code, result.out) == (1, "")
    assert f"is {status}, not running" in result.err
    assert not (data_dir / "client").exists()


def test_one_bad_variable_means_no_output(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.env = {"A;touch hit": "x"}
    plane.add("x")

    result = valhalla("sandbox", "env", "x")

    assert (result.code, result.out) == (1, "")


@pytest.mark.parametrize("words", [["--json"], ["--format", "json"]])
def test_json(plane: FakePlane, data_dir: Path, valhalla: Valhalla, words: list[str]) -> None:
    plane.env = HOSTILE
    plane.add("x")

    env = json.loads(valhalla("sandbox", "env", "x", *words).out)

    assert {name: env[name] for name in HOSTILE} == HOSTILE


def test_credentials_are_private_and_end_with_the_sandbox(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    made = plane.add("x")
    valhalla("sandbox", "env", "x")
    creds = data_dir / "client" / "creds" / f"{made['id']}.creds"

    assert stat.S_IMODE(creds.stat().st_mode) == 0o600
    assert stat.S_IMODE(creds.parent.stat().st_mode) == 0o700
    assert valhalla("sandbox", "rm", "-y", "x").code == 0
    assert not creds.exists()


def test_expired_credentials_are_pruned(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    short, long = plane.add("short", expires_at=instant(seconds=0.3)), plane.add("long")
    valhalla("sandbox", "env", "short")
    time.sleep(0.35)
    valhalla("sandbox", "env", "long")

    assert [f"{long['id']}.creds"] == [path.name for path in (data_dir / "client" / "creds").iterdir()]
    assert short["id"] != long["id"]


def test_extend_keeps_written_credentials_alive(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    made = plane.add("x", expires_at=instant(seconds=5))
    valhalla("sandbox", "env", "x")

    assert valhalla("sandbox", "extend", "x", "24h").code == 0

    creds = data_dir / "client" / "creds" / f"{made['id']}.creds"
    assert creds.stat().st_mtime > time.time() + 3600


def test_without_a_data_directory_the_users_state_keeps_them(
    plane: FakePlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, valhalla: Valhalla
) -> None:
    monkeypatch.setenv("VALHALLA_URL", plane.url)
    monkeypatch.setenv("VALHALLA_API_KEY", "vh_test_key")
    plane.add("x")

    env = json.loads(valhalla("sandbox", "env", "x", "--json").out)

    assert tmp_path / "state" / "valhalla" / "creds" == Path(env["NATS_CREDS"]).parent


def test_an_id_that_is_a_path_writes_nothing(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.sandboxes["evil"] = plane.add("x") | {"id": "../../evil", "name": "evil"}
    plane.sandboxes["../../evil"] = plane.sandboxes["evil"]

    result = valhalla("sandbox", "env", "evil")

    assert (result.code, result.out) == (1, "")
    assert not list(data_dir.parent.rglob("*.creds"))
