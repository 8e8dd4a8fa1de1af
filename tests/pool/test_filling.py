"""The filler under demand: it grows with the claims, hurries for callers, and makes way for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.sandbox.plane import Team, developer, fetch, fresh_owner

from valhalla.kernel.principal import SYSTEM
from valhalla.kit.writing import upkeep
from valhalla.runtime import Runtime
from valhalla.sandbox.pool import Filler
from valhalla.sandbox.pool.meter import Meter


async def test_a_drained_pool_serves_everybody_and_fills_again(pooled: Runtime, filler: Filler) -> None:
    """Sixteen callers at a pool of six: all are served, the pool has grown, no slot was given twice."""
    teams = [Team(pooled, developer(fresh_owner())) for _ in range(16)]
    stop = asyncio.Event()
    filling = asyncio.create_task(filler.run(stop))
    try:
        made = await asyncio.gather(*(team.new() for team in teams))
        assert len({sandbox.id for sandbox in made}) == 16
        assert filler.target("empty") >= 16
        for _ in range(300):
            if filler.stock.count("empty", _version(pooled)) >= 16:
                break
            await asyncio.sleep(0.05)
        assert filler.stock.count("empty", _version(pooled)) >= 16
    finally:
        stop.set()
        await filling
    await asyncio.gather(*(team.destroy(sandbox.id) for team, sandbox in zip(teams, made, strict=True)))


async def test_creations_in_line_delay_it_for_a_moment_only(pooled: Runtime, filler: Filler) -> None:
    """One that hangs does not starve the pool."""
    await Team(pooled, developer(fresh_owner())).new()
    before = await _slots(pooled)
    with filler.in_line():
        # a round of a busy process may be a pause
        while await filler.once():
            pass
        assert await _slots(pooled) > before


async def test_while_writes_are_closed_nothing_is_built(
    pooled: Runtime, filler: Filler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps what it has, and goes on where it stopped."""
    service = pooled.features.maintenance.service
    wanted = filler.stock.count("empty", _version(pooled)) + 3
    monkeypatch.setattr(filler, "target", lambda _template: wanted)
    before = await _slots(pooled)
    try:
        await service.set(SYSTEM, "read_only", "a copy")
        await pooled.feed.refresh()
        with upkeep():
            assert not await filler.once()
        assert await _slots(pooled) == before
    finally:
        with upkeep():
            await service.set(SYSTEM, "normal", "done")
        await pooled.feed.refresh()
    while await filler.once():
        pass
    assert filler.stock.count("empty", _version(pooled)) == wanted


async def test_a_batch_is_ten_at_most(pooled: Runtime, filler: Filler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger transactions are slower and hold more locks."""
    sizes: list[int] = []
    whole = type(pooled.backends).provision_many

    async def noting(backends: Any, many: Any, **said: Any) -> None:
        sizes.append(len(many))
        await whole(backends, many, **said)

    monkeypatch.setattr(type(pooled.backends), "provision_many", noting)
    wanted = filler.stock.count("empty", _version(pooled)) + 15
    monkeypatch.setattr(filler, "target", lambda _template: wanted)
    while await filler.once():
        pass
    assert max(sizes) == 10


def test_what_a_meter_tells() -> None:
    """Claims and misses are counted while they are recent."""
    meter = Meter()
    for found in (True, True, False):
        meter.note(found=found)
    demand = meter.demand(target=9, ready=3, late=0.5)
    assert (demand.target, demand.ready, demand.missed, demand.claimed, demand.late) == (9, 3, 1, 3, 0.5)
    assert meter.recent() == 3


def _version(pooled: Runtime) -> str:
    return pooled.sandboxes.templates.get("empty").version  # type: ignore[union-attr]


async def _slots(pooled: Runtime) -> int:
    rows = await fetch(pooled, "SELECT id FROM valhalla.sandboxes WHERE owner = '' AND slot_ready_at IS NOT NULL")
    return len(rows)
