"""Deployments and smoke tests through both clients against a real control plane."""

from __future__ import annotations

from pathlib import Path

import pytest

from valhalla import ApiProblem, AsyncClient, Client


def test_the_blocking_client(client: Client) -> None:
    bad = client.deployments.start("sdk", "shop", "2.0", commit="abcdef1")
    client.deployments.move(bad.id, "succeeded")
    good = client.deployments.start("sdk", "shop", "1.9", rollback_of=bad.id)
    client.deployments.move(good.id, "succeeded", notes="back")

    assert client.deployments.get(bad.id).rolled_back_by == good.id
    assert [one.id for one in client.deployments.current("sdk")] == [good.id]
    assert [one.id for one in client.deployments.iterate(environment="sdk")] == [good.id, bad.id]
    figures = client.deployments.dora(environment="sdk")
    assert (figures.deployments, figures.failures, figures.time_to_restore.count) == (2, 1, 0)
    with pytest.raises(ApiProblem) as refused:
        client.deployments.move(good.id, "failed")
    assert refused.value.code == "illegal-transition"
    with pytest.raises(ApiProblem) as unknown:
        client.smoke.run("nothing")
    assert unknown.value.code == "smoke-suite-not-found"
    assert list(client.smoke.iterate(suite="nothing")) == []


async def test_the_asynchronous_client(data_dir: Path) -> None:
    async with AsyncClient(data_dir=data_dir) as client:
        made = await client.deployments.start("sdk-async", "shop", "2.0", start=False)
        moved = await client.deployments.move(made.id, "failed")
        listed = [one.id async for one in client.deployments.iterate(environment="sdk-async")]
        figures = await client.deployments.dora(environment="sdk-async")
        with pytest.raises(ApiProblem):
            await client.smoke.run("nothing")

    assert (made.status, moved.status, listed, figures.failure_rate) == ("pending", "failed", [made.id], 1.0)
