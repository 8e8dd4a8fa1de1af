"""The fixtures, in runs of pytest against a control plane that runs already."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from tests.pytest_plugin.project import environment, run

from valhalla import Client

FIXTURES = """
import datetime, json, psycopg, pytest

seen = {}

@pytest.fixture(scope="module", autouse=True)
def plane(valhalla_client):
    yield
    # all but the run's own are gone or on their way
    left = {one.id for one in valhalla_client.iterate(tag="pytest", status="running")}
    assert left <= {seen.get("session"), *seen.get("ending", [])}

def tables(sandbox):
    with psycopg.connect(sandbox.database_url) as database:
        return [name for name, in database.execute("select tablename from pg_tables where schemaname=current_schema()")]

@pytest.mark.parametrize("turn", [1, 2])
def test_each_has_its_own(sandbox, turn):
    with psycopg.connect(sandbox.database_url) as database:
        database.execute("create table mine (n int)")
    assert sandbox.owner.startswith("pytest-")
    assert set(sandbox.info.tags) >= {"pytest"}
    left = sandbox.expires_at - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=59) < left < datetime.timedelta(minutes=61)

@pytest.mark.parametrize("turn", [1, 2])
def test_all_share_it(sandbox_session, turn):
    assert seen.setdefault("session", sandbox_session.id) == sandbox_session.id

@pytest.mark.sandbox(template="community", ttl="2h")
class TestMarked:
    def test_by_the_class(self, sandbox):
        assert sandbox.info.template == "community"
        assert "badges" in tables(sandbox)

    @pytest.mark.sandbox(template="empty", metadata={"k": 1}, tags=["t"])
    def test_the_nearest_wins(self, sandbox):
        assert sandbox.expires_at - sandbox.info.created_at > datetime.timedelta(minutes=119)
        assert tables(sandbox) == []
        assert sandbox.info.metadata["k"] == 1 and "t" in sandbox.info.tags

@pytest.mark.sandbox(slices=["sqlite"], template="community")
def test_only_what_it_needs(sandbox):
    import sqlite3
    with sqlite3.connect(sandbox.sqlite_path) as connection:
        assert connection.execute("SELECT count(*) FROM communities").fetchone() == (0,)
    assert sandbox.connection.postgres is None

def test_recorded_events_are_played(sandbox, play_session, valhalla_client):
    event = {"id": "e1", "source": "/tenant", "type": "made", "subject": "acme", "data": {"n": 1}}
    assert play_session(sandbox, ['{"valhalla_session": 1}', json.dumps({"at": 60, "event": event})]) == 1
    (played,) = valhalla_client.lanes.page(sandbox.id)["items"]
    assert (played["data"], played["recordedid"]) == ({"n": 1}, "e1")

def test_as_many_as_wanted(sandbox_factory, valhalla_client, sandbox):
    made = [sandbox_factory(), sandbox_factory(template="community"), sandbox_factory("by-name")]
    seen["ending"] = [one.id for one in [*made, sandbox]]
    assert len({sandbox.id, *(one.id for one in made)}) == 4
    assert (made[2].name, made[1].info.template) == ("by-name", "community")
    assert valhalla_client.get(made[0].id).status == "running"
    assert tables(made[0]) == []
"""


@pytest.fixture
def env(plane: Path) -> dict[str, str]:
    return environment(plane)


def left(admin: Client) -> list[str]:
    """Return the sandboxes of tests that are not gone."""
    return [one.name for one in admin.iterate(tag="pytest")]


def test_they_do_what_they_say_and_leave_nothing(tmp_path: Path, env: dict[str, str], admin: Client) -> None:
    (tmp_path / "test_it.py").write_text(FIXTURES)
    (tmp_path / "pytest.ini").write_text("[pytest]\nvalhalla_template = empty\naddopts = --strict-markers\n")

    code, out = run(tmp_path, env)

    assert "9 passed" in out, out
    assert code == 0
    assert left(admin) == []


FAILING = """
import psycopg, pytest

@pytest.mark.parametrize("good", [True, False])
def test_it(sandbox, good):
    with psycopg.connect(sandbox.database_url) as database:
        database.execute("create table clue (n int)")
    assert good
"""


def test_a_failing_test_tells_how_to_keep_its_sandbox(tmp_path: Path, env: dict[str, str], admin: Client) -> None:
    (tmp_path / "test_it.py").write_text(FAILING)

    _, out = run(tmp_path, env)

    assert "1 failed, 1 passed" in out, out
    assert out.count("valhalla sandbox -") == 1
    assert "run the test again with --keep-sandboxes" in out
    assert "sandbox psql NAME" in out
    assert "kept sandboxes" not in out
    assert left(admin) == []


@pytest.mark.parametrize("words", [pytest.param([], marks=pytest.mark.slow), ["-n", "2"]], ids=["alone", "xdist"])
def test_kept_is_what_failed(tmp_path: Path, env: dict[str, str], admin: Client, words: list[str]) -> None:
    (tmp_path / "test_it.py").write_text(FAILING)

    _, out = run(tmp_path, env, "--keep-sandboxes", *words)

    [name] = left(admin)
    try:
        summary = out.partition("kept sandboxes")[2]
        assert summary.count(name) == 2, out
        assert f"sandbox env {name}" in out
        access = admin.connection(name).postgres
        assert access is not None
        with psycopg.connect(access.url) as database:
            assert database.execute("SELECT * FROM clue").fetchall() == []
        # a run that comes later leaves it alone
        (tmp_path / "test_it.py").write_text("def test_it(valhalla_client): valhalla_client.ready()")
        assert run(tmp_path, env)[0] == 0
        assert left(admin) == [name]
    finally:
        admin.destroy(name, wait=10)


@pytest.mark.slow
def test_workers_have_a_limit_each(tmp_path: Path, env: dict[str, str], admin: Client) -> None:
    program = """
import pathlib, time, pytest
@pytest.mark.parametrize("n", range(2))
def test_it(sandbox_factory, n, valhalla_client):
    for _ in range(4):
        sandbox_factory(template="empty")
    pathlib.Path(f"made-{n}").touch()
    until = time.monotonic() + 20
    while not all(pathlib.Path(f"made-{k}").exists() for k in range(2)):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert len(list(valhalla_client.iterate(tag="pytest", status="running"))) == 8
    pathlib.Path(f"seen-{n}").touch()
    while not all(pathlib.Path(f"seen-{k}").exists() for k in range(2)):
        assert time.monotonic() < until
        time.sleep(0.02)
"""
    (tmp_path / "test_it.py").write_text(program)

    code, out = run(tmp_path, env, "-n", "2")

    assert code == 0, out
    assert left(admin) == []


def test_a_key_that_is_no_admins(tmp_path: Path, plane: Path, admin: Client) -> None:
    key = admin.keys.create(owner="team-a", scopes=["sandbox:write", "sandbox:read"]).key
    assert key is not None
    time.sleep(0.2)  # until every part of the plane knows it
    (tmp_path / "test_it.py").write_text("def test_it(sandbox): assert sandbox.owner == 'team-a'")

    code, out = run(tmp_path, environment(plane, VALHALLA_API_KEY=key), "--valhalla-url", admin.endpoint.url)

    assert code == 0, out
    assert left(admin) == []


def test_mistakes_are_told(tmp_path: Path, env: dict[str, str]) -> None:
    program = """
import pytest
@pytest.mark.sandbox("shop")
def test_a(sandbox): pass
@pytest.mark.sandbox(tempalte="shop")
def test_b(sandbox): pass
@pytest.mark.sandbox(template="nowhere")
def test_c(sandbox): pass
"""
    (tmp_path / "test_it.py").write_text(program)

    _, out = run(tmp_path, env)

    assert "3 errors" in out, out
    for told in ("UsageError: @pytest.mark.sandbox takes keywords", "no 'tempalte'", "no template is called 'nowhere'"):
        assert told in out


def test_a_plane_that_does_not_answer_is_asked_once(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_a(sandbox): pass\ndef test_b(sandbox): pass")

    _, out = run(tmp_path, environment(VALHALLA_URL="http://127.0.0.1:1"))

    assert "2 errors" in out
    assert out.count("no control plane for the sandboxes: http://127.0.0.1:1") >= 2
    assert "Traceback" not in out


def test_it_is_registered_and_imports_nothing_of_weight() -> None:
    [entry] = importlib.metadata.entry_points(group="pytest11", name="valhalla")
    assert entry.value == "valhalla.pytest_plugin"
    program = """
import sys, time, pytest
before = set(sys.modules)
begin = time.perf_counter()
import valhalla.pytest_plugin
took = time.perf_counter() - begin
print(took, *sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""
    found = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
        for _ in range(5)
    ]

    assert {name for _, *names in found for name in names} == {"valhalla"}
    assert min(float(took) for took, *_ in found) < 0.010
