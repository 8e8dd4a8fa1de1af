"""Runs that find no control plane: one is started for them, shared, and gone afterwards, also after kill -9."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.pytest_plugin.project import environment, run, runs, start
from tests.sdk.real import open_folder, valhalla

from valhalla import Client

WAITING = """
import os, pathlib, time, psycopg, pytest

@pytest.mark.parametrize("n", range(int(os.environ["TESTS"])))
def test_it(sandbox, n, valhalla_client):
    pathlib.Path(f"{os.environ['RUN']}-{n}").write_text(f"{valhalla_client.endpoint.url} {sandbox.id}")
    until = time.monotonic() + 30
    while not pathlib.Path(os.environ["RUN"] + "-go").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    with psycopg.connect(sandbox.database_url) as database:
        database.execute("create table mine (n int)")
"""


@pytest.fixture
def project() -> Iterator[Path]:
    """A project without a control plane; what runs in its home afterwards is a failure, and stopped."""
    with open_folder() as folder:
        (folder / "test_it.py").write_text(WAITING)
        yield folder
        valhalla(folder / ".valhalla" / "pytest", "down")


def soon(holds: Callable[[], Any], within: float = 20) -> Any:
    until = time.monotonic() + within
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.02)
    return held


def records(project: Path) -> list[dict[str, int]]:
    """Return the processes of the control plane: the supervisor's and its own."""
    home = project / ".valhalla"
    paths = [home / "pytest.users" / "supervisor.json", home / "pytest" / "control.json"]
    return [json.loads(path.read_text()) for path in paths]


def told(project: Path, name: str) -> list[str]:
    """Return the address and the sandbox's id that a test has written."""
    path = project / name
    assert soon(lambda: path.exists() and path.read_text()), f"{name} is not there"
    return path.read_text().split()


def test_one_is_shared_by_workers_and_by_another_run_and_ends_with_the_last(project: Path) -> None:
    first = start(project, environment(RUN="a", TESTS="2"), "-n", "2")
    addresses = {told(project, f"a-{n}")[0] for n in range(2)}
    processes = records(project)
    assert all(map(runs, processes))

    (project / "b-go").touch()
    code, out = run(project, environment(RUN="b", TESTS="1"))
    assert code == 0, out
    addresses.add(told(project, "b-0")[0])
    assert len(addresses) == 1
    # the second run has left, the first still works
    (project / "a-go").touch()
    out, _ = first.communicate(timeout=60)

    assert first.returncode == 0, out
    # the run itself waits for the end
    assert not (project / ".valhalla" / "pytest" / "control.json").exists()
    assert not runs(processes[1])
    assert soon(lambda: not runs(processes[0]), within=2)
    assert list((project / ".valhalla" / "pytest.users" / "users").iterdir()) == []


@pytest.mark.slow
def test_after_kill_9_the_plane_ends_and_the_next_run_sweeps(project: Path) -> None:
    killed = start(project, environment(RUN="a", TESTS="1"))
    _, lost = told(project, "a-0")
    processes = records(project)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()

    # two seconds until it is noticed, and what stopping takes on a busy machine
    assert soon(lambda: not any(map(runs, processes)), within=10)

    (project / "test_it.py").write_text(f"""
def test_it(sandbox, valhalla_client):
    assert valhalla_client.get("{lost}").status in ("destroying", "destroyed")
    assert [one.id for one in valhalla_client.iterate(status="running")] == [sandbox.id]
    assert valhalla_client.destroy("{lost}", wait=10).status == "destroyed"
""")
    code, out = run(project, environment())
    assert code == 0, out


@pytest.mark.slow
def test_the_plane_ends_with_a_supervisor_that_is_killed(project: Path) -> None:
    (project / "b-go").touch()
    first = start(project, environment(RUN="a", TESTS="1"))
    told(project, "a-0")
    supervisor, plane = records(project)
    os.kill(supervisor["pid"], signal.SIGKILL)
    assert soon(lambda: not runs(plane), within=10)
    first.kill()
    first.wait()


@pytest.mark.slow
def test_what_was_kept_keeps_the_plane(project: Path) -> None:
    (project / "test_it.py").write_text("def test_it(sandbox): assert not sandbox")

    _, out = run(project, environment(), "--keep-sandboxes")

    data_dir = project / ".valhalla" / "pytest"
    assert f"stop their control plane: valhalla --data-dir {data_dir} down" in out
    processes = records(project)
    assert all(map(runs, processes))
    with Client(data_dir=data_dir, api_key=(data_dir / "admin.key").read_text().strip()) as client:
        [kept] = client.iterate(status="running")
        assert f"{kept.name} until" in out
        access = client.connection(kept.id).postgres
        assert access is not None
        psycopg.connect(access.url).close()
    valhalla(data_dir, "down")
    assert soon(lambda: not any(map(runs, processes)), within=10)


@pytest.mark.slow
def test_the_projects_own_templates_are_found(project: Path) -> None:
    shop = project / ".valhalla" / "templates" / "shop"
    shop.mkdir(parents=True)
    (shop / "001_orders.sql").write_text("CREATE TABLE orders (id int); INSERT INTO orders VALUES (1);")
    (project / "pytest.ini").write_text("[pytest]\nvalhalla_template = shop\n")
    (project / "test_it.py").write_text("""
import psycopg
def test_it(sandbox):
    with psycopg.connect(sandbox.database_url) as database:
        assert database.execute("select * from orders").fetchall() == [(1,)]
""")

    # VALHALLA_* that is meant for another control plane, or for none
    code, out = run(project, environment(VALHALLA_API_KEY="vh_other", VALHALLA_MAX_SANDBOXES_PER_OWNER="zero"))

    assert code == 0, out
    shutil.rmtree(project / ".valhalla" / "templates")
