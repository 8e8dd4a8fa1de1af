"""Smoke suites against a real server that answers, hangs, streams, moves and breaks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conftest import Servers
from tests.features.deployments.conftest import Scene

from valhalla.features.operations.deployments.smoke import Check, JsonCheck
from valhalla.features.operations.deployments.smoke.errors import RunNotFound, SuiteNotFound
from valhalla.kernel.principal import SYSTEM
from valhalla.kit.db import Database
from valhalla.kit.outgoing_guard import TargetRefused


def what(attempt: Any) -> list[str]:
    return [failure["what"] for failure in attempt.failures]


async def test_answers_as_declared_pass_and_are_kept(scene: Scene) -> None:
    ok = JsonCheck("$.items[*].n", "at_least", 1)
    await scene.suite(
        Check(
            "alive", "/live?x=1", jsonpath=(JsonCheck("$.status", "equals", "ok"), ok), expect_headers={"X-App": "shop"}
        ),
        Check("made", "/things", method="POST", body={"a": 1}, headers={"X-One": "two"}),
    )

    run, found = await scene.run()

    assert (run.status, run.total, run.passed, run.failed) == ("passed", 2, 2, 0)
    assert [(each.ok, each.status, each.last) for each in found["alive"]] == [(True, 200, True)]
    assert found["alive"][0].latency_ms > 0
    assert scene.target.asked == {"/live?x=1": 1, "/things": 1}
    posted = next(head for head in scene.target.seen if head.startswith(b"POST"))
    assert b"content-type: application/json" in posted.lower()
    assert b"x-one: two" in posted.lower()
    assert [kind for kind, _ in await scene.told()] == ["smoke.passed"]


async def test_a_hostile_target_is_a_failure_in_time_and_each_is_told_apart(scene: Scene) -> None:
    await scene.suite(
        *(Check(path.strip("/"), path, timeout=0.3) for path in ("/hang", "/drip", "/moved", "/broken", "/cut")),
        # time enough to reach the limit of bytes first, on any machine
        Check("endless", "/endless", timeout=30),
        Check("slow", "/slow", latency_ms=1),
        concurrency=8,
        max_body=10_000,
    )

    run, found = await scene.run()

    assert (run.status, run.passed, run.failed) == ("failed", 0, 7)
    assert {name: what(attempts[-1]) for name, attempts in found.items()} == {
        "hang": ["timeout"],
        "drip": ["timeout"],
        "endless": ["body"],
        "moved": ["status"],
        "broken": ["status"],
        "cut": ["exchange"],
        "slow": ["latency_ms"],
    }
    assert scene.target.asked["/secret"] == 0
    [(kind, data)] = await scene.told()
    assert (kind, data["suite"], data["failed"], len(data["failing"])) == ("smoke.failed", "api", 7, 7)


async def test_every_attempt_is_reported_and_the_last_decides(scene: Scene) -> None:
    await scene.suite(Check("flaky", "/flaky", retries=4, pause=0), Check("broken", "/broken", retries=1, pause=0))

    run, found = await scene.run()

    assert [(each.attempt, each.status, each.ok, each.last) for each in found["flaky"]] == [
        (1, 503, False, False),
        (2, 503, False, False),
        (3, 200, True, True),
    ]
    assert [each.status for each in found["broken"]] == [500, 500]
    assert (run.status, run.passed, run.failed) == ("failed", 1, 1)


async def test_only_so_many_requests_run_at_once(scene: Scene) -> None:
    await scene.suite(*(Check(f"slow-{n}", "/slow") for n in range(9)), concurrency=3)

    run, _ = await scene.run()

    assert run.status == "passed"
    assert scene.target.most == 3


async def test_a_run_ends_when_its_time_is_up(scene: Scene) -> None:
    await scene.suite(*(Check(f"hang-{n}", "/hang") for n in range(3)), concurrency=1, timeout=0.2)

    run, found = await scene.run()

    assert (run.status, run.failed) == ("failed", 3)
    assert [what(found[f"hang-{n}"][-1]) for n in range(3)] == [["timeout"], ["run"], ["run"]]


async def test_what_was_decided_before_a_crash_is_not_asked_again(scene: Scene) -> None:
    await scene.suite(Check("one", "/one"), Check("hang", "/hang", timeout=30))
    made = await scene.smoke.request(SYSTEM, "api")
    crashed = asyncio.create_task(scene.smoke.execute(made.id))
    async with asyncio.timeout(20):
        while (await scene.smoke.get(SYSTEM, made.id))[0].passed < 1:
            await asyncio.sleep(0.01)
    crashed.cancel()
    await asyncio.gather(crashed, return_exceptions=True)
    half, _ = await scene.smoke.get(SYSTEM, made.id)

    again = asyncio.create_task(scene.smoke.execute(made.id))
    async with asyncio.timeout(20):
        while scene.target.asked["/hang"] < 2:
            await asyncio.sleep(0.01)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)

    assert (half.status, half.passed) == ("running", 1)
    assert scene.target.asked == {"/one": 1, "/hang": 2}


async def test_secrets_come_from_the_environment_and_are_kept_nowhere(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMOKE_TOKEN", "hunter2hunter2")
    await scene.suite(
        Check("in", "/in", headers={"Authorization": "Bearer ${SMOKE_TOKEN}"}),
        Check("unset", "/unset", headers={"X-T": "${SMOKE_NOT_SET}"}),
    )

    run, found = await scene.run()

    assert any(b"Bearer hunter2hunter2" in head for head in scene.target.seen)
    assert "hunter2" not in repr(run) + repr(found)
    assert what(found["unset"][0]) == ["variable"]
    assert scene.target.asked["/unset"] == 0


async def test_no_target_but_a_declared_one_is_asked(scene: Scene, servers: Servers, db: Database) -> None:
    await scene.suite(Check("alive", "/live"))
    await scene.suite(Check("alive", "/live"), name="elsewhere", base_url="http://127.0.0.1:1")

    for how in ({"base_url": "http://169.254.169.254"}, {"base_url": scene.target.url + ".evil.example"}):
        with pytest.raises(TargetRefused):
            await scene.smoke.request(SYSTEM, "api", **how)
    with pytest.raises(TargetRefused):
        await scene.smoke.request(SYSTEM, "elsewhere")
    # declared, and still private: no setting opens its network
    closed = Scene(db, servers, scene.target, outgoing_networks=[])
    run, found = await closed.run()
    assert (run.status, what(found["alive"][0]), scene.target.asked.total()) == ("failed", ["target"], 0)
    await closed.feature.stop()


async def test_what_a_target_says_can_always_be_kept(scene: Scene) -> None:
    scene.target.body = (
        b'{"a":123456789012345678901234567890,"b":"\\u0000","c":[1e999,99999999999999999999],"d":"\xf0\x9f\x92\xa9"}'
    )
    checks = tuple(JsonCheck(f"$.{name}", "equals", "x") for name in ("a", "b", "c", "d", "*"))
    await scene.suite(Check("odd", "/odd", jsonpath=checks))

    run, found = await scene.run()

    assert run.status == "failed"
    assert what(found["odd"][0])


async def test_what_there_is_not(scene: Scene) -> None:
    with pytest.raises(SuiteNotFound):
        await scene.smoke.request(SYSTEM, "nothing")
    with pytest.raises(RunNotFound):
        await scene.smoke.get(SYSTEM, "nothing")
    assert await scene.smoke.execute("nothing") == "gone"
