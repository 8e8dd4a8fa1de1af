"""The command line against a real control plane with its real servers, started as users start it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.calling import PROGRAM, Result, Run


def soon(holds: Callable[[], bool]) -> bool:
    """Wait for what the plane promises to be visible within 50 ms, twenty times as long."""
    until = time.monotonic() + 1
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.02)
    return held


@pytest.fixture
def box(quick: Run) -> Iterator[str]:
    """A sandbox of its own for one test."""
    name = quick("sandbox", "new", "-q").out.strip()
    yield name
    quick("sandbox", "rm", "-y", "-q", name)


def test_the_start_tells_url_directory_and_the_key_once(up: tuple[Path, Result], real: Run) -> None:
    data_dir, started = up

    info = json.loads(real("info", "--json").out)
    key = Path(info["admin_key_file"])
    assert info["url"] in started.out
    assert key.read_text().strip() in started.out
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text().strip() not in (data_dir / "logs" / "control.log").read_text()
    assert info["data_dir"] == str(data_dir)
    assert info["services"].keys() >= {"postgres", "valkey", "nats"}
    again = real("up", "--detach")
    assert (again.code, key.read_text().strip() in again.out) == (0, False)


def test_it_is_ready(quick: Run) -> None:
    assert quick("status").code == 0
    assert quick("doctor").code == 0


def test_a_life(quick: Run) -> None:
    made = json.loads(quick("sandbox", "new", "life", "--ttl", "90m", "--tag", "t", "--meta", "k=v", "--json").out)
    assert made.keys() >= {"id", "name", "owner", "status", "expires_at", "connection"}
    assert quick("sandbox", "ls", "-q", "--tag", "t").out == "life\n"
    assert quick("sandbox", "status", "-q", "life").out == "life: healthy\n"
    assert "capped" in quick("sandbox", "extend", "life", "7d", "--json").out

    route = "discord.guild:123456789012345678"
    assert quick("sandbox", "link", "life", route).code == 0
    assert route in quick("sandbox", "ls").out
    assert quick("sandbox", "unlink", "life", route).code == 0
    assert quick("sandbox", "unlink", "life", route).code == 1

    assert quick("sandbox", "rm", "life").code == 2
    assert quick("sandbox", "rm", "-y", "life").out == "life is destroyed\n"
    assert "already destroyed" in quick("sandbox", "rm", "-y", "life").out
    actions = [entry["action"] for entry in json.loads(quick("sandbox", "audit", made["id"], "--json").out)["items"]]
    assert {"created", "ttl_extended", "route_linked", "route_unlinked", "destroying", "destroyed"} <= set(actions)
    assert quick("ledger", "verify").code == 0


def test_env_opens_the_database(real: Run, box: str, up: tuple[Path, Result]) -> None:
    program = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as conn:
    print(conn.execute("SELECT current_schema()").fetchone()[0] == os.environ["SANDBOX_SCHEMA"])
"""
    command = " ".join([*PROGRAM, "--data-dir", str(up[0])])
    script = f'eval "$({command} sandbox env {box})" && test -r "$NATS_CREDS" && exec {sys.executable} -c "$PROGRAM"'

    done = subprocess.run(
        ["sh", "-c", script], env={**os.environ, "PROGRAM": program}, capture_output=True, check=True, text=True
    )

    assert done.stdout == "True\n"


def test_run_and_psql(real: Run, box: str) -> None:
    assert real("sandbox", "run", box, "--", "sh", "-c", 'test -r "$NATS_CREDS" && exit 7').code == 7
    asked = real("sandbox", "psql", box, "--", "-Atc", "SELECT current_user, current_schema()")
    assert asked.code == 0, asked.err
    assert re.fullmatch(r"(sbx_\w+)\|\1\n", asked.out)


def test_a_sealed_program_reaches_every_slice_and_no_control_plane(
    real: Run, up: tuple[Path, Result], box: str
) -> None:
    program = """
import asyncio, os, socket, nats, psycopg, redis
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE sealed (i int)")
client = redis.Redis.from_url(os.environ["REDIS_URL"])
client.set(os.environ["VALKEY_PREFIX"] + "sealed", 1)
async def main():
    bus = await nats.connect(os.environ["NATS_URL"], user_credentials=os.environ["NATS_CREDS"], connect_timeout=10)
    await bus.flush()
    await bus.close()
asyncio.run(main())
try:
    socket.create_connection(("127.0.0.1", int(os.environ["PLANE"])))
except OSError:
    print("alone")
"""
    plane = json.loads((up[0] / "control.json").read_text())["url"].rpartition(":")[2].strip("/")
    done = real(
        "--json", "sandbox", "run", "--sealed", box, "--", "env", f"PLANE={plane}", sys.executable, "-c", program
    )
    if "cannot-seal" in done.err:
        pytest.skip(done.err)

    assert (done.code, done.out) == (0, "alone\n"), done.err
    assert [(a["what"], a["where"]) for a in json.loads(done.err)["attempts"]] == [("connect", f"127.0.0.1:{plane}")]


def test_run_new_leaves_nothing(real: Run) -> None:
    name = real("sandbox", "run", "--new", "--", "sh", "-c", "echo $SANDBOX_NAME").out.strip()

    until = time.monotonic() + 10
    while name in real("sandbox", "ls", "-q").out.split() and time.monotonic() < until:
        time.sleep(0.1)
    assert name not in real("sandbox", "ls", "-q").out.split()


def test_a_key_of_an_owner(quick: Run, box: str) -> None:
    made = json.loads(
        quick("key", "new", "--owner", "team-a", "--scope", "sandbox:write", "--expires-in", "1d", "--json").out
    )
    theirs = ["--api-key", made["key"], "sandbox"]

    assert soon(lambda: quick(*theirs, "ls").code == 0)
    name = quick(*theirs, "new", "-q").out.strip()
    assert name.startswith("team-a-")
    assert quick(*theirs, "ls", "-q", "--all").out.split() == [name]
    assert quick(*theirs, "status", box).code == 1
    assert quick(*theirs, "rm", "-y", box).code == 1
    assert quick(*theirs, "rm", "-y", name).code == 0
    assert made["id"] in quick("key", "ls", "-q").out.split()
    assert quick("key", "revoke", made["id"]).code == 0
    assert soon(lambda: quick(*theirs, "ls").code == 1)


@pytest.mark.parametrize("ttl", ["0h", "-1h", "NaN", "999999999h", "$(touch hit)", "1h\n"])
def test_odd_lifetimes_are_refused(quick: Run, ttl: str) -> None:
    result = quick("sandbox", "new", "--ttl", ttl)

    assert (result.code, result.out) == (1, "")
    assert "next:" in result.err


@pytest.mark.parametrize("name", ["Bad", "a b", "$(touch hit)", "a'b", "x" * 65, "a\nb", "ž", "../x"])
def test_odd_names_are_refused(quick: Run, name: str) -> None:
    assert quick("sandbox", "new", name).code == 1
    assert quick("sandbox", "status", name).code == 1


def test_the_database_is_current(real: Run) -> None:
    current = json.loads(real("db", "current", "--json").out)

    assert current["revision"]
    assert json.loads(real("db", "upgrade", "--json").out) == current


def test_down_and_up_again(up: tuple[Path, Result], real: Run) -> None:
    url = json.loads(real("info", "--json").out)["url"]

    assert real("down").code == 0
    assert real("sandbox", "ls").code == 3
    assert real("doctor").code == 1

    assert json.loads(real("up", "--detach", "--json").out).items() >= {"url": url, "started": True}.items()
    assert real("status").code == 0


def test_slices_and_where_they_are(quick: Run) -> None:
    """Only SQLite: a file that works and no other variable; an arena is named by the status."""
    assert quick("sandbox", "new", "light", "--slices", "sqlite", "-q").code == 0
    env = json.loads(quick("sandbox", "env", "light", "--json").out)
    assert env.keys() == {"SANDBOX_ID", "SANDBOX_NAME", "SANDBOX_ROUTES", "DATABASE_URL", "SQLITE_PATH"}
    assert Path(env["SQLITE_PATH"]).is_file()
    assert "database" not in quick("sandbox", "status", "light").out
    assert quick("sandbox", "rm", "-y", "light").code == 0
    assert not Path(env["SQLITE_PATH"]).exists()

    assert quick("sandbox", "new", "full", "-q").code == 0
    assert re.search(r"database +vh_[a-z0-9]+_arena_1 \(an arena\)", quick("sandbox", "status", "full").out)
    assert json.loads(quick("sandbox", "status", "full", "--json").out)["isolation"] == "schema"
    assert quick("sandbox", "rm", "-y", "full").code == 0

    refused = quick("sandbox", "new", "--slices", "mysql", "--json")
    assert refused.code == 1
    assert json.loads(refused.err or refused.out)["code"] == "slice-unknown"


def test_a_snapshot_is_a_template(quick: Run, real: Run) -> None:
    """Rows of one sandbox are in the next that starts from its snapshot."""
    assert quick("sandbox", "new", "original", "-q").code == 0
    insert = "insert into communities (name) values ('copied')"
    assert real("sandbox", "psql", "original", "--", "-c", insert).code == 0
    made = quick("sandbox", "snapshot", "original", "--as", "with-row")
    assert made.code == 0, made.err
    assert made.out.startswith("Template 'with-row' holds 3 tables with 1 rows\n")
    taken = quick("sandbox", "snapshot", "original", "--as", "with-row", "--json")
    assert (taken.code, json.loads(taken.err or taken.out)["code"]) == (1, "template-taken")
    assert quick("sandbox", "snapshot", "original", "--as", "with-row", "--replace", "-q").out == "with-row\n"
    assert quick("template", "ls", "-q").out.split() == ["community", "empty", "with-row"]
    assert re.search(r"with-row +snapshot", quick("template", "ls").out)
    assert quick("sandbox", "new", "copy", "--template", "with-row", "-q").code == 0
    seen = real("sandbox", "psql", "copy", "--", "-Atc", "select name from communities")
    assert seen.out == "copied\n"
    assert quick("template", "rm", "with-row").out == "removed: with-row\n"
    assert quick("template", "rm", "with-row").code == 1
    assert quick("sandbox", "rm", "-y", "original", "copy").code == 0


def test_logs_and_checkpoints(quick: Run, tmp_path: Path) -> None:
    kept, entries = tmp_path / "kept", tmp_path / "entries"
    assert soon(lambda: quick("ledger", "checkpoint", "-o", str(kept)).code == 0)
    assert quick("ledger", "verify", "--checkpoint", str(kept)).code == 0
    assert quick("ledger", "export", "-o", str(entries)).code == 0
    assert quick("ledger", "verify", "--checkpoint", str(kept), "--entries", str(entries)).code == 0
    kept.write_text(kept.read_text().replace("\n", "x\n", 1))
    assert quick("ledger", "verify", "--checkpoint", str(kept)).code == 1
    assert quick("logs", "--since", "1h", "--limit", "5").code == 0
    assert "newest" in json.loads(quick("--json", "logs", "--level", "critical").out)


def test_events_are_recorded_and_replayed(quick: Run, tmp_path: Path) -> None:
    """A session goes from a file onto a lane, from the lane into a file, and onto another sandbox's."""
    written, again = tmp_path / "written.jsonl", tmp_path / "again.jsonl"
    event = {
        "id": "e1",
        "source": "/tenant",
        "type": "made",
        "subject": "acme",
        "data": {"n": 1, "email": "a@b.example"},
    }
    lines: list[object] = [{"valhalla_session": 1}, *({"at": number / 100, "event": event} for number in range(3))]
    written.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("player", "listener"):
        assert quick("sandbox", "new", name).code == 0
    played = quick("--json", "sandbox", "replay", "player", str(written), "--speed", "max")
    assert json.loads(played.out) == {"sandbox": "player", "events": 3}
    recorded = quick("sandbox", "record", "player", "-o", str(again), "--since", "1h", "--redact", "EMAIL")
    assert (recorded.code, "3 events" in recorded.err) == (0, True)
    assert quick("sandbox", "replay", "listener", str(again), "--speed", "50").code == 0
    shown = json.loads(quick("--json", "sandbox", "events", "listener", "--since", "1h").out)
    assert [one["data"] for one in shown["items"]] == [{"n": 1, "email": "***"}] * 3
    assert len({one["id"] for one in shown["items"]}) == 3
    assert "3 of" in quick("sandbox", "status", "listener").out

    assert quick("sandbox", "link", "player", "tenant:acme", "--replay").code == 0
    past = json.loads(quick("--json", "sandbox", "replay", "player", "--route", "tenant:acme", "--since", "1h").out)
    assert past == {"sandbox": "player", "events": 0}
    assert quick("sandbox", "events", "player", "--production", "tenant:acme").out == ""
    for wrong in (["replay", "player"], ["replay", "player", str(written), "--speed", "-1"], ["link", "player", "a:b"]):
        assert quick("sandbox", *wrong, *(["--mirror", "--replay"] if wrong[0] == "link" else [])).code == 2
    written.write_text("{}\n")
    broken = quick("sandbox", "replay", "player", str(written))
    assert (broken.code, "line 1" in broken.err) == (2, True)
    assert quick("sandbox", "record", "nobody", "-o", str(tmp_path / "none")).code == 1
    assert not (tmp_path / "none").exists()
    quick("sandbox", "rm", "-y", "player", "listener")
