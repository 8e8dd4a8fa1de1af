"""SIGKILL of the control plane at every step of a creation and a destruction, with live data inside.

Nobody cleans up at the moment of death; the next start has to. Afterwards the registry and the backends agree exactly.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.crash.control_plane import ControlPlane, spawn, until
from tests.sandbox.plane import opened, work_in

from valhalla.cli.leftovers import leftovers
from valhalla.kernel.ids import new_id
from valhalla.kit.cellkey import CellKey
from valhalla.kit.natsauth import KeyPair
from valhalla.sandbox.slices.contracts import Names

slow = pytest.mark.slow
CREATE = [
    "create.claimed",
    pytest.param("create.postgres", marks=slow),
    pytest.param("create.valkey", marks=slow),
    pytest.param("create.nats", marks=slow),
    pytest.param("create.provisioned", marks=slow),
]
DESTROY = [
    pytest.param("destroy.marked", marks=slow),
    pytest.param("cut.postgres", marks=slow),
    pytest.param("cut.valkey", marks=slow),
    pytest.param("cut.nats", marks=slow),
    pytest.param("destroy.cut", marks=slow),
    pytest.param("drop.postgres", marks=slow),
    pytest.param("drop.valkey", marks=slow),
    pytest.param("drop.nats", marks=slow),
    pytest.param("destroy.dropped", marks=slow),
]


@dataclass
class Place(ControlPlane):
    """One data directory for all: what one crash left would disturb the next; ``kept`` lives through all of them."""

    folder: Path
    kept: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.folder)


@pytest.fixture(scope="module")
async def plane() -> AsyncGenerator[Place]:
    made = Place(Path(tempfile.mkdtemp(prefix="vh-crash-")))
    try:
        made.start()
        made.kept = made.new(ttl="24h")
        await work_in(made.kept["connection"])
        assert made.signal(signal.SIGTERM) == 0
        yield made
    finally:
        made.remove()


@pytest.fixture(autouse=True)
def _stopped(plane: Place) -> Iterator[None]:
    yield
    if plane.process is not None and plane.process.poll() is None:
        plane.signal(signal.SIGKILL)


async def unharmed(sandbox: Mapping[str, Any]) -> None:
    """Check that what ``work_in`` put into a sandbox is there."""
    async with opened(sandbox["connection"]) as session:
        assert await session.sql.fetchval("SELECT id FROM orders") == 42
        assert await session.cache.get(sandbox["connection"]["valkey"]["prefix"] + "order") == b"42"
        assert (await session.bus.jetstream(timeout=5).stream_info("orders")).state.messages == 1


async def agreement(plane: Place) -> None:
    """Check that each running sandbox is whole, and that nothing else exists in any backend."""
    rows = plane.rows()
    assert {row["status"] for row in rows} <= {"running", "destroyed"}
    cell = CellKey.parse((plane.data_dir / "cell.key").read_text())
    expected: set[str] = set()
    contents: list[str] = []
    for row in rows:
        if row["status"] == "running":
            names = Names.for_sandbox(row["id"], cell=cell.cell, database=row["database"])
            account = KeyPair.derive(cell, "account", "sandbox", names.id).public
            expected |= {
                f"postgres role {names.role}",
                f"postgres schema {names.database}.{names.schema}",
                f"valkey user {names.valkey_user}",
                f"nats account {account}",
            }
            contents += [f"valkey key {names.key_prefix.encode()!r}"[:-1], f"nats streams of {account}"]
            # Valkey takes no keys for its first two seconds
            path = f"/api/sandboxes/{row['id']}/status"
            until(lambda path=path: plane.http.get(path).json()["health"] == "healthy")
    found = await leftovers(plane.data_dir)
    assert {item for item in found if not item.startswith(tuple(contents))} == expected


def dies(plane: Place, method: str, path: str, **request: Any) -> None:
    """Send a request that the process does not survive; an answer may come first, when the work goes on behind it."""
    with contextlib.suppress(httpx.TransportError):
        answer = plane.http.request(method, path, **request)
        assert answer.is_success, answer.text
    assert plane.ended() == -signal.SIGKILL


@pytest.mark.parametrize("point", CREATE)
async def test_create(plane: Place, point: str) -> None:
    """Nothing of the half-made sandbox is left, its name, route and key are free, and its sibling has its data."""
    plane.start(VALHALLA_CRASH_AT=point)
    name = f"x-{new_id()}"
    request = {"name": name, "routes": [{"kind": "crash.test", "key": name}]}
    key = {"Idempotency-Key": name}
    dies(plane, "POST", "/api/sandboxes", json=request, headers=key)
    plane.start()
    half = plane.row(name)
    until(lambda: plane.row(name)["status"] == "destroyed")
    await agreement(plane)
    assert plane.actions(half) == ["created", "route_linked", "failed", "route_unlinked", "destroyed"]
    answer = plane.http.post("/api/sandboxes", json=request, headers=key)
    assert answer.status_code == 201, answer.text
    assert "Idempotent-Replayed" not in answer.headers
    assert answer.json()["id"] != half["id"]
    await unharmed(plane.kept)
    plane.end(answer.json())
    await agreement(plane)


@pytest.mark.slow
async def test_create_after_the_commit(plane: Place) -> None:
    """The answer was lost, the sandbox was not: it lives, and the repeated request gets it with its credentials."""
    plane.start(VALHALLA_CRASH_AT="create.running")
    name = f"x-{new_id()}"
    key = {"Idempotency-Key": name}
    dies(plane, "POST", "/api/sandboxes", json={"name": name}, headers=key)
    plane.start()
    # several runs of the reaper, which must not take it
    await asyncio.sleep(1.5)
    row = plane.row(name)
    assert row["status"] == "running"
    await agreement(plane)
    again = plane.http.post("/api/sandboxes", json={"name": name}, headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["id"] == row["id"]
    await work_in(again.json()["connection"])
    plane.end(row)
    await agreement(plane)


@pytest.mark.parametrize("point", DESTROY)
async def test_destroy(plane: Place, point: str) -> None:
    """A destruction that has begun is finished, with everything that was in the sandbox, and with nothing else."""
    plane.start(VALHALLA_CRASH_AT=point)
    sandbox = plane.new(template="community")
    await work_in(sandbox["connection"])
    dies(plane, "DELETE", f"/api/sandboxes/{sandbox['id']}", params={"wait": 10})
    plane.start()
    until(lambda: plane.row(sandbox["name"])["status"] == "destroyed")
    await agreement(plane)
    assert plane.actions(sandbox) == ["created", "status_changed", "destroying", "destroyed"]
    # also after runs of the reaper that sweep at once
    await asyncio.sleep(0.5)
    await unharmed(plane.kept)


@pytest.mark.slow
async def test_a_repeated_crash(plane: Place) -> None:
    """The recovery itself is killed, twice, at later steps."""
    plane.start(VALHALLA_CRASH_AT="destroy.marked")
    sandbox = plane.new()
    await work_in(sandbox["connection"])
    dies(plane, "DELETE", f"/api/sandboxes/{sandbox['id']}")
    for point in ("drop.valkey", "destroy.dropped"):
        plane.doomed(VALHALLA_CRASH_AT=point)
        assert plane.ended() == -signal.SIGKILL
    plane.start()
    until(lambda: plane.row(sandbox["name"])["status"] == "destroyed")
    await agreement(plane)
    await unharmed(plane.kept)


async def test_the_ledger_survives_every_crash(plane: Place) -> None:
    """After all of the above the chain of what happened is whole."""
    plane.start()
    process = spawn(plane.data_dir, "ledger", "verify")
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 0, output
