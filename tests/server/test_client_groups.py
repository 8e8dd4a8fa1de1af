"""The grouped methods of both clients against a running control plane: what they send is understood, and typed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.server.plane import Plane
from tests.server.serving import serving

import valhalla
from valhalla.sdk import traces
from valhalla.sdk.models import Page


def ask(place: str, key: str) -> dict[str, Any]:
    with valhalla.Client(f"http://{place}", key) as client:
        revision = client.system.snapshot()
        assert revision is not None
        since = datetime.now(UTC) - timedelta(hours=1)
        return {
            "snapshot": client.system.snapshot(watch=revision["revision"], wait=0.01),
            "metrics": client.system.metrics(),
            "calendar": client.maintenance.calendar(),
            "traces": client.traces.page(since=since, limit=2),
            "history": list(client.maintenance.iterate_history()),
            "errors": list(client.failures.iterate()),
            "health": client.system.health(),
            "limits": client.limits.test({"path": "/"}),
            "checkpoints": client.ledger.checkpoints(limit=1),
            "windows": list(client.registry("windows").iterate()),
            "logs": client.logs.page(limit=1),
            "silences": client.alerts.silences(),
        }


async def test_both_clients(plane: Plane) -> None:
    key = await plane.admin_key()
    async with serving(plane.app) as place:
        found = await asyncio.to_thread(ask, place, key)
        async with valhalla.AsyncClient(f"http://{place}", key) as client:
            page = await client.traces.page(limit=2)
            assert isinstance(page, Page)
            assert [each async for each in client.failures.iterate()] == found["errors"]
            with pytest.raises(valhalla.ApiProblem) as refused:
                await client.traces.show("f" * 32)
            assert refused.value.code == "trace-not-found"
            assert (await client.logs.search(limit=1)).items is not None
    assert found["snapshot"] is None
    assert b"valhalla_http_requests" in found["metrics"]
    assert found["calendar"].startswith(b"BEGIN:VCALENDAR")
    assert isinstance(found["traces"], Page)
    assert found["limits"]["allowed"] is True
    # who asks by hand gets the same
    assert traces.show("a").path == "/system/traces/a"
