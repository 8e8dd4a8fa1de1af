"""The control plane's own worker does its housekeeping."""

from __future__ import annotations

import asyncio
import time

from tests.server.plane import Plane

from valhalla.work import read, schedules


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
