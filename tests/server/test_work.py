"""The control plane's own worker does its housekeeping."""

from __future__ import annotations

import asyncio
import time

from tests.server.plane import Plane

from valhalla.server.readiness import readiness
from valhalla.work import heartbeats, read, schedules
from valhalla.work.loops import place_of
from valhalla.work.heartbeats import expect, forget


async def test_the_schedule_of_the_control_plane_is_run_by_its_worker(plane: Plane) -> None:
    """Its schedule is there after the start, and its job runs."""
    runtime = plane.runtime
    schedule = await runtime.db.run(schedules.read, "valhalla.prune-events")
    assert schedule.next_at is not None
    made = await runtime.db.run(schedules.run_now, runtime.jobs, schedule.name)
    deadline = time.monotonic() + 20
    while (job := await runtime.db.run(read, made.id)).status != "succeeded":
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.02)
    assert isinstance(job.result, int)


async def test_readiness_names_who_is_silent(plane: Plane) -> None:
    """Worker and ticker beat by themselves; what is expected and was never heard of is not healthy."""
    runtime = plane.runtime

    async def told(wanted: str | None) -> None:
        deadline = time.monotonic() + 20
        while (check := (await readiness(runtime))["checks"]["heartbeats"])["reason"] != wanted:
            assert time.monotonic() < deadline, check
            await asyncio.sleep(0.05)
        assert check["ok"] is (wanted is None)

    await told(None)
    await runtime.db.run(expect, "backup.nightly", interval=60, timeout=3600)
    await told("backup.nightly was never heard of")
    await runtime.db.run(forget, "backup.nightly")
    await told(None)
    place = place_of(runtime.settings.data_dir)
    beating = {one.name for one in await runtime.db.run(heartbeats.every)}
    parts = ("dispatcher", "feed", "reaper", "sealer", "ticker", "watchdog", "worker")
    assert {f"{part}.{place}" for part in parts} <= beating
