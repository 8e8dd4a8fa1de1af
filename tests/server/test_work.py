"""The control plane's own worker does its housekeeping."""

from __future__ import annotations

import asyncio
import time

from tests.server.plane import Plane

from valhalla.server.readiness import readiness
from valhalla.work import heartbeats, read, schedules
from valhalla.work.heartbeats import expect, forget
from valhalla.work.loops import place_of


async def test_the_schedule_of_the_control_plane_is_run_by_its_worker(plane: Plane) -> None:
    """Its schedule is there after the start, and its job runs."""
    runtime = plane.runtime
    schedule = await runtime.db.run(schedules.read, "valhalla.retention")
    assert schedule.next_at is not None
    made = await runtime.db.run(schedules.run_now, runtime.jobs, schedule.name)
    deadline = time.monotonic() + 20
    while (job := await runtime.db.run(read, made.id)).status != "succeeded":
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.02)
    assert isinstance(job.result, list)


async def test_readiness_names_who_is_silent(plane: Plane) -> None:
    """Worker and ticker beat by themselves; what is expected and was never heard of is not healthy."""
    runtime = plane.runtime
    place = place_of(runtime.settings.data_dir)

    async def told(wanted: str | None) -> None:
        deadline = time.monotonic() + 20
        while True:
            check = (await readiness(runtime))["checks"]["heartbeats"]
            # other tests end control planes of theirs on this database in ways that nobody forgets
            said = [one for one in (check["reason"] or "").split("; ") if place in one or "backup" in one]
            if said == ([] if wanted is None else [wanted]):
                break
            assert time.monotonic() < deadline, check
            await asyncio.sleep(0.05)
        assert check["ok"] is (check["reason"] is None)

    await told(None)
    await runtime.db.run(expect, "backup.nightly", interval=60, timeout=3600)
    await told("backup.nightly was never heard of")
    await runtime.db.run(forget, "backup.nightly")
    await told(None)
    beating = {one.name for one in await runtime.db.run(heartbeats.every)}
    parts = ("dispatcher", "feed", "reaper", "sealer", "ticker", "watchdog", "worker")
    assert {f"{part}.{place}" for part in parts} <= beating


async def test_what_features_run_in_the_background_beats(plane: Plane) -> None:
    """Also what does something once a minute has been heard of; what tries ways tells of itself, and a boot is once."""
    features = plane.runtime.features
    running = {name for feature in features for name in feature.background()}
    running -= {"health-work", "health-events", "routes.boot"}
    loops = [one.name for feature in features for one in feature.loops()]
    assert len(loops) == len(set(loops)) >= len(running)
    place = place_of(plane.runtime.settings.data_dir)
    wanted = {f"{name}.{place}" for name in loops}
    deadline = time.monotonic() + 20
    while missing := wanted - {
        one.name for one in await plane.runtime.db.run(heartbeats.every) if one.status == "alive"
    }:
        assert time.monotonic() < deadline, missing
        await asyncio.sleep(0.05)
