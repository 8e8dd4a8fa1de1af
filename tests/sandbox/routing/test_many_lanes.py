"""More lanes than a NATS server gives a stream consumers unless it is told to."""

from __future__ import annotations

import asyncio

import pytest
from tests.sandbox.routing.conftest import Bus

from valhalla.kernel.ids import new_id
from valhalla.sandbox.routing.lanes import close_lane, lane_info, open_lane


@pytest.mark.slow
async def test_more_than_a_thousand_sandboxes_have_lanes(bus: Bus) -> None:
    sandboxes = [new_id() for _ in range(1_050)]
    try:
        for sandbox in sandboxes:
            await open_lane(bus.link, sandbox)
        assert (await lane_info(bus.link, sandboxes[-1]))["name"] == f"s-{sandboxes[-1]}"
    finally:
        for start in range(0, len(sandboxes), 50):
            await asyncio.gather(*(close_lane(bus.link, sandbox) for sandbox in sandboxes[start : start + 50]))
