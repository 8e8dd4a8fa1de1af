"""Jobs, schedules and heartbeats over HTTP: what any program's workers announced, and who may touch it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

from valhalla.work import Jobs, Retry, Worker, heartbeats

HOUR = 3600


@pytest.fixture(scope="module")
async def operator(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    """Whoever works with jobs, and nothing else."""
    issued = await issue("jobs-team", "jobs:write", "schedules:write", "heartbeats:write")
    return plane.client(issued["key"])


@pytest.fixture(scope="module")
async def program(plane: Plane) -> Any:
    """A program of its own with a worker beside the control plane."""
    jobs = Jobs()

    @jobs.job("shop.add", queue="shop")
    async def add(a: int, b: int = 1) -> int:
        return a + b

    @jobs.job("shop.fail", queue="shop", retry=Retry(attempts=1))
    async def fail(kind: str = "x") -> None:
        raise ValueError(kind)

    stop = asyncio.Event()
    task = asyncio.create_task(Worker(plane.runtime.db, jobs, poll=0.2).run(stop))
    deadline = time.monotonic() + 20
    client = plane.client(await plane.admin_key())
    while not any(kind["name"] == "shop.add" for kind in (await client.get("/system/jobs/kinds")).json()["items"]):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    yield jobs
    stop.set()
    await task


async def ended(client: httpx.AsyncClient, key: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while (job := (await client.get(f"/system/jobs/{key}")).json())["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.01)
    return job


async def test_a_job_of_another_program_is_submitted_and_watched(operator: httpx.AsyncClient, program: Jobs) -> None:
    made = await operator.post("/system/jobs", json={"name": "shop.add", "args": {"a": 2}})
    assert made.status_code == 201
    assert made.json()["created"]
    job = await ended(operator, made.json()["id"])
    assert (job["status"], job["result"], job["queue"]) == ("succeeded", 3, "shop")
    later = {"name": "shop.add", "args": {"a": 1}, "delay": HOUR, "dedup_key": "once"}
    first = await operator.post("/system/jobs", json=later)
    again = await operator.post("/system/jobs", json=later)
    assert (again.status_code, again.json()) == (200, {"id": first.json()["id"], "created": False})
    cancelled = (await operator.post(f"/system/jobs/{first.json()['id']}/cancel")).json()
    assert (cancelled["status"], cancelled["effect"]) == ("cancelled", "none")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "nobody.knows"}, "unknown-job"),
        ({"name": "shop.add", "args": {}}, "bad-job-arguments"),
        ({"name": "shop.add", "args": {"a": "two"}}, "bad-job-arguments"),
        ({"name": "shop.add", "args": {"a": True}}, "bad-job-arguments"),
        ({"name": "shop.add", "args": {"a": 1, "c": 2}}, "bad-job-arguments"),
        ({"name": "shop.add", "args": {"a": 1}, "dedup_key": "a\u0000"}, "bad-job-arguments"),
    ],
    ids=["name", "missing", "text", "truth", "unknown", "key"],
)
async def test_what_does_not_fit_is_refused(
    operator: httpx.AsyncClient, program: Jobs, body: dict[str, Any], code: str
) -> None:
    refused(await operator.post("/system/jobs", json=body), 422, code)
    # a batch is made whole or not at all
    good = {"name": "shop.add", "args": {"a": 1}, "dedup_key": f"batch-{code}"}
    refused(await operator.post("/system/jobs/bulk", json={"jobs": [good, body]}), 422, code)
    page = (await operator.get("/system/jobs", params={"name": "shop.add", "status": "queued"})).json()
    assert not [job for job in page["items"] if job["dedup_key"] == good["dedup_key"]]


async def test_dead_jobs_are_listed_page_by_page_and_retried(operator: httpx.AsyncClient, program: Jobs) -> None:
    jobs = [{"name": "shop.fail", "args": {"kind": str(n)}} for n in range(5)]
    made = (await operator.post("/system/jobs/bulk", json={"jobs": jobs})).json()["items"]
    for one in made:
        assert (await ended(operator, one["id"]))["status"] == "dead"
    found: list[str] = []
    query: dict[str, Any] = {"name": "shop.fail", "queue": "shop", "status": "dead", "limit": 2}
    while True:
        page = (await operator.get("/system/jobs", params=query)).json()
        found += [job["id"] for job in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert found == sorted((one["id"] for one in made), reverse=True)
    which = {"status": "dead", "name": "shop.fail"}
    plan = (await operator.post("/system/jobs/retry", params={"dry_run": True}, json=which)).json()
    assert plan == {"dry_run": True, "matched": 5, "replayed": []}
    done = (await operator.post("/system/jobs/retry", json=which)).json()
    assert done["replayed"] == sorted(one["id"] for one in made)
    one = await ended(operator, found[0])
    assert (one["status"], one["attempts"]) == ("dead", 1)
    again = await operator.post(f"/system/jobs/{found[0]}/retry")
    assert again.json()["status"] == "queued"
    refused(await operator.post("/system/jobs/nothing/retry"), 404, "no-such-job")


async def test_schedules_are_written_shown_run_and_paused(operator: httpx.AsyncClient, program: Jobs) -> None:
    body = {
        "job": "shop.add",
        "args": {"a": 1},
        "timing": {"type": "cron", "expression": "30 2 * * *", "timezone": "Europe/Berlin"},
    }
    made = (await operator.put("/system/schedules/nightly", json=body)).json()
    assert len(made["runs"]) == 5
    assert made["runs"][0] == made["next_at"]
    run = await operator.post("/system/schedules/nightly/run")
    assert (run.status_code, (await ended(operator, run.json()["id"]))["result"]) == (201, 2)
    assert (await operator.post("/system/schedules/nightly/pause")).json()["paused"]
    assert (await operator.get("/system/schedules/nightly")).json()["runs"] == []
    assert not (await operator.post("/system/schedules/nightly/resume")).json()["paused"]
    page = (await operator.get("/system/schedules")).json()
    assert {"nightly", "valhalla.retention"} <= {one["name"] for one in page["items"]}
    assert {"valhalla.reaper", "valhalla.sealer", "valhalla.worker"} <= {one["name"] for one in page["loops"]}
    refused(await operator.put("/system/schedules/valhalla.retention", json=body), 409, "built-in-schedule")
    wrong = {**body, "timing": {"type": "cron", "expression": "61 * * * *"}}
    refused(await operator.put("/system/schedules/other", json=wrong), 422, "bad-schedule")
    soon = {**body, "timing": {"type": "every", "seconds": 1, "start": "2020-01-01T00:00:00Z"}}
    await operator.put("/system/schedules/nightly", json=soon)
    # the control plane's ticker runs what another program's worker knows
    deadline = time.monotonic() + 20
    while (await operator.get("/system/schedules/nightly")).json()["last_job"] is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert (await operator.delete("/system/schedules/nightly")).status_code == 204
    refused(await operator.get("/system/schedules/nightly"), 404, "no-such-schedule")


async def test_a_dead_mans_switch(operator: httpx.AsyncClient, plane: Plane) -> None:
    """Declared by its first ping; a run that begins must end; a failure is missed at once, and told."""
    path = "/system/heartbeats/backup.nightly"
    refused(await operator.post(path), 404, "no-such-heartbeat")
    first = (await operator.post(path, params={"interval": HOUR, "grace": 60})).json()
    assert (first["status"], first["timeout"], first["grace"]) == ("alive", 2 * HOUR, 60)
    begun = (await operator.post(f"{path}/start")).json()
    assert begun["started_at"] is not None
    ended = (await operator.post(path)).json()
    assert (ended["started_at"], ended["took"] >= 0) == (None, True)
    failed = (await operator.post(f"{path}/fail", params={"reason": "disk full"})).json()
    assert (failed["status"], failed["reason"]) == ("missed", "failed: disk full")
    changed = (await operator.put(path, json={"interval": 60, "timeout": 90})).json()
    assert (changed["interval"], changed["timeout"], changed["status"]) == (60, 90, "missed")
    assert (await operator.post(path)).json()["reason"] is None
    names = [one["name"] for one in (await operator.get("/system/heartbeats")).json()["items"]]
    assert "backup.nightly" in names
    assert (await operator.delete(path)).status_code == 204
    refused(await operator.post("/system/heartbeats/new", params={"interval": 5, "timeout": 2}), 422, "invalid-request")
    assert "new" not in {one.name for one in await plane.runtime.db.run(heartbeats.every)}


async def test_each_area_has_its_scope(plane: Plane, issue: Issue, team_a: httpx.AsyncClient) -> None:
    reader = plane.client((await issue("watcher", "jobs:read"))["key"])
    assert (await reader.get("/system/jobs")).status_code == 200
    refused(await reader.post("/system/jobs", json={"name": "shop.add"}), 403, "forbidden")
    refused(await reader.get("/system/schedules"), 403, "forbidden")
    refused(await team_a.get("/system/heartbeats"), 403, "forbidden")
