"""Alerts through both clients against a real control plane."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from valhalla import ApiProblem, AsyncClient, Client


def test_the_blocking_client(client: Client) -> None:
    raised = client.alerts.raise_("sdk.blocking", "critical", labels={"n": "1"}, context={"order": 7})
    assert raised is not None
    silence = client.alerts.silence(raised.id, timedelta(hours=1), reason="planned")
    during = client.alerts.get(raised.fingerprint)
    ended = client.alerts.end_silence(silence.id)
    would = client.alerts.bulk("acknowledge", name="sdk.blocking", dry_run=True)
    seen = client.alerts.acknowledge(raised.id, note="mine")
    listed = list(client.alerts.iterate(source="api", severity="critical"))
    done = client.alerts.resolve(raised.id)

    assert (during.silenced_by, during.context, ended.state) == ((silence.id,), {"order": 7}, "expired")
    assert (would.matched, would.changed, would.dry_run) == (1, 1, True)
    assert (seen.status, seen.note, done.status) == ("acknowledged", "mine", "resolved")
    assert raised.id in {alert.id for alert in listed}
    assert raised.id not in {alert.id for alert in client.alerts.iterate()}
    assert raised.id in {alert.id for alert in client.alerts.iterate(unresolved=False)}
    with pytest.raises(ApiProblem) as refused:
        client.alerts.resolve(raised.id)
    assert refused.value.code == "illegal-transition"


async def test_the_asynchronous_client(data_dir: Path) -> None:
    async with AsyncClient(data_dir=data_dir) as client:
        raised = await client.alerts.raise_("sdk.asynchronous")
        assert raised is not None
        seen = await client.alerts.acknowledge(raised.id)
        listed = [alert.id async for alert in client.alerts.iterate(name="sdk.asynchronous")]
        done = await client.alerts.bulk("resolve", name="sdk.asynchronous")
        after = await client.alerts.get(raised.id)

    assert (seen.status, listed, done.ids, after.status) == ("acknowledged", [raised.id], (raised.id,), "resolved")
