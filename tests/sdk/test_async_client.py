"""The asynchronous client: the same as the blocking one, and the sandbox ends when its task is cancelled."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.cli.fake_plane import KEY, FakePlane, problem

from valhalla import AsyncClient, Client
from valhalla.sdk.alerts import Alerts, AsyncAlerts
from valhalla.sdk.awork import AsyncHeartbeats, AsyncJobs, AsyncSchedules
from valhalla.sdk.deployments import AsyncDeployments, Deployments
from valhalla.sdk.errors import ValhallaError
from valhalla.sdk.keys import AsyncKeys, Keys
from valhalla.sdk.registries import AsyncRegistry, Registry
from valhalla.sdk.smoke import AsyncSmoke, Smoke
from valhalla.sdk.work import Heartbeats, Jobs, Schedules


@pytest.fixture
async def aclient(data_dir: Path) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(data_dir=data_dir) as opened:
        yield opened


def methods(kind: type[Any]) -> dict[str, list[inspect.Parameter]]:
    """Return the public methods with their parameters."""
    found = {name: member for name, member in vars(kind).items() if callable(member) and not name.startswith("_")}
    return {name: list(inspect.signature(member).parameters.values()) for name, member in found.items()}


@pytest.mark.parametrize(
    ("blocking", "waiting"),
    [
        (Client, AsyncClient),
        (Keys, AsyncKeys),
        (Registry, AsyncRegistry),
        (Jobs, AsyncJobs),
        (Schedules, AsyncSchedules),
        (Heartbeats, AsyncHeartbeats),
        (Alerts, AsyncAlerts),
        (Deployments, AsyncDeployments),
        (Smoke, AsyncSmoke),
    ],
)
def test_both_have_the_same_methods(blocking: type[Any], waiting: type[Any]) -> None:
    assert methods(blocking) == methods(waiting)


async def ended(client: AsyncClient, sandbox_id: str) -> bool:
    return (await client.get(sandbox_id)).status in {"destroying", "destroyed"}


async def test_a_life(aclient: AsyncClient) -> None:
    async with aclient.sandbox(template="empty", ttl="2h") as sbx:
        postgres = await asyncpg.connect(sbx.database_url)
        assert await postgres.fetchval("SELECT current_schema()") == sbx.schema
        await postgres.close()
        assert (await aclient.status(sbx.id)).health == "healthy"
        assert sbx.id in [one.id async for one in aclient.iterate()]
        assert (await aclient.extend(sbx.name, "20m")).expires_at != sbx.expires_at

    assert await ended(aclient, sbx.id)
    assert {"created", "ttl_extended"} <= {entry.action async for entry in aclient.audit(sbx.id)}


async def test_slices_and_snapshots(aclient: AsyncClient) -> None:
    async with aclient.sandbox(template="empty", slices=["sqlite", "postgres"]) as sbx:
        assert sbx.sqlite_path.is_file()
        assert sbx.sqlite_url.endswith(str(sbx.sqlite_path))
        with pytest.raises(ValhallaError, match="no valkey slice"):
            _ = sbx.redis_url
        health = await aclient.status(sbx.id)
        assert (health.isolation, health.schema) == ("schema", sbx.schema)
        assert health.database == sbx.info.database
        assert health.slices == sbx.info.slices == ("postgres", "sqlite")
        postgres = await asyncpg.connect(sbx.database_url)
        await postgres.execute("CREATE TABLE t (x int); INSERT INTO t VALUES (7)")
        await postgres.close()
        taken = await aclient.snapshot(sbx.id, "of-async")
        assert (taken.rows, taken.sandbox) == (1, sbx.id)
    assert taken in [each.snapshot for each in await aclient.templates()]
    async with aclient.sandbox(template="of-async") as sbx:
        postgres = await asyncpg.connect(sbx.database_url)
        assert await postgres.fetchval("SELECT x FROM t") == 7
        await postgres.close()
    await aclient.remove_template("of-async")
    assert [each.name for each in await aclient.templates()] == ["community", "empty"]


async def test_a_task_that_is_cancelled_and_again_while_it_cleans_up(aclient: AsyncClient) -> None:
    opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with aclient.sandbox(template="empty") as sbx:
            opened.set_result(sbx.id)
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    sandbox_id = await opened
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await ended(aclient, sandbox_id)


async def test_a_task_that_is_cancelled_while_its_sandbox_is_made(aclient: AsyncClient) -> None:
    async def work() -> None:
        async with aclient.sandbox("half-made", template="empty"):
            pytest.fail("the block must not run")

    task = asyncio.create_task(work())
    # the name is taken as soon as the control plane has begun
    while not [one async for one in aclient.iterate() if one.name == "half-made"]:
        assert not task.done()
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [one.status async for one in aclient.iterate() if one.name == "half-made"] in ([], ["destroying"])


async def test_a_time_limit(aclient: AsyncClient) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), aclient.sandbox(template="empty") as sbx:
            await asyncio.sleep(60)

    assert await ended(aclient, sbx.id)


async def test_a_failing_destroy_masks_nothing(fake: FakePlane) -> None:
    async with AsyncClient(fake.url, KEY) as client:
        with pytest.raises(ValueError, match="mine") as caught:  # noqa: PT012 - the block is what is tested
            async with client.sandbox("a"):
                fake.script = [problem(500, "internal", "it broke")]
                raise ValueError("mine")
        assert "a was not destroyed (it broke)" in caught.value.__notes__[0]


async def test_a_busy_plane_is_asked_once_more_with_the_same_key(fake: FakePlane) -> None:
    fake.script = [problem(503, "backend-unavailable", "postgres is away", retry_after=0.01)]

    async with AsyncClient(fake.url, KEY) as client:
        assert (await client.create("a")).name == "a"

    first, second = (headers["Idempotency-Key"] for *_, headers in fake.seen)
    assert first == second
