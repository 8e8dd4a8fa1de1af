"""What a smoke suite does about a failure: once, only what its author may, and undone when it must not be."""

from __future__ import annotations

from typing import Any

import pytest
from tests.features.deployments.conftest import Flag, Scene

from valhalla.features.operations.deployments.smoke import Check, Undo
from valhalla.features.operations.deployments.smoke.face import face_of
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kernel.problems import Forbidden, Problem
from valhalla.kit.outgoing_guard import TargetRefused
from valhalla.kit.registry_routes.desk import Desk, Writing
from valhalla.kit.registry_routes.matching import Conditions
from valhalla.work.schedules import read as read_schedule


async def test_a_failure_disables_a_flag_once(scene: Scene) -> None:
    await scene.db.run(scene.flags.put, "new-checkout", Flag(), actor="test")
    await scene.suite(Check("broken", "/broken"), on_failure=Undo("disable", "flags", "new-checkout"))

    run, _ = await scene.run()
    await scene.smoke.execute(run.id)
    scene.target.broken.add("/sub/broken")
    other, _ = await scene.run(base_url=scene.target.url + "/sub")

    assert run.remedy is not None
    assert (run.remedy["done"], run.remedy["changed"]) == (True, 1)
    assert (await scene.db.read(scene.flags.get, "new-checkout")).value.killed
    history = (await scene.db.read(scene.flags.history, "new-checkout")).items
    assert [(change.actor, change.revision) for change in history] == [("smoke:api", 2), ("test", 1)]
    assert (other.status, other.remedy) == ("failed", None)


async def test_a_run_that_crashed_after_its_remedy_does_not_do_it_again(scene: Scene) -> None:
    await scene.db.run(scene.flags.put, "new-checkout", Flag(), actor="test")
    await scene.suite(Check("broken", "/broken"), on_failure=Undo("disable", "flags", "new-checkout"))
    made = await scene.smoke.request(SYSTEM, "api")
    crashed = scene.smoke._ending.finish

    def crash(*_: Any) -> Any:
        raise RuntimeError("the worker dies")

    scene.smoke._ending.finish = crash  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="dies"):
        await scene.smoke.execute(made.id)
    scene.smoke._ending.finish = crashed  # type: ignore[method-assign]
    await scene.db.run(scene.flags.put, "new-checkout", Flag(), actor="somebody")
    await scene.smoke.execute(made.id)

    run, _ = await scene.smoke.get(SYSTEM, made.id)
    assert run.remedy is not None
    assert (run.status, run.remedy["done"]) == ("failed", True)
    assert not (await scene.db.read(scene.flags.get, "new-checkout")).value.killed


async def test_without_a_revision_it_leads_back_to_when_the_deployment_was_recorded(scene: Scene) -> None:
    from valhalla.features.operations.deployments import Draft

    await scene.db.run(scene.flags.put, "new-checkout", Flag("first"), actor="test")
    recorded = await scene.service.record(SYSTEM, Draft("prod", "shop", "2", start=True))
    await scene.db.run(scene.flags.put, "new-checkout", Flag("second"), actor="test")
    await scene.suite(Check("broken", "/broken"), on_failure=Undo("rollback", "flags"))

    run, _ = await scene.run(deployment=recorded.id)
    unlinked, _ = await scene.run()

    assert run.remedy is not None
    assert (run.remedy["done"], run.remedy["revision"]) == (True, 1)
    assert (await scene.db.read(scene.flags.get, "new-checkout")).value.text == "first"
    assert (await scene.service.get(SYSTEM, recorded.id)).verdict == "failed"
    assert unlinked.remedy is not None
    assert (unlinked.status, unlinked.remedy["done"]) == ("failed", False)


async def test_what_a_registry_s_own_routes_would_refuse_is_undone(scene: Scene) -> None:
    def refuse(_conn: Any, principal: Principal, changes: Any) -> None:
        assert (principal.id, [change.key for change in changes]) == ("smoke:api", ["new-checkout"])
        raise Problem("others depend on it")

    scene.feature.remedies.accept("flags", refuse)
    await scene.db.run(scene.flags.put, "new-checkout", Flag(), actor="test")
    await scene.suite(Check("broken", "/broken"), on_failure=Undo("disable", "flags", "new-checkout"))

    run, _ = await scene.run()

    assert run.remedy is not None
    assert (run.status, run.remedy["done"], run.remedy["why"]) == ("failed", False, "others depend on it")
    assert not (await scene.db.read(scene.flags.get, "new-checkout")).value.killed


async def test_a_remedy_of_another_feature_takes_its_place_and_leaves_nothing_when_it_refuses(scene: Scene) -> None:
    orders: list[Any] = []

    def remedy(conn: Any, order: Any) -> dict[str, Any]:
        orders.append(order)
        scene.flags.put(conn, "half", Flag(), actor="remedy")
        raise Problem("not today")

    scene.feature.remedies.offer("flags", remedy)
    await scene.suite(Check("broken", "/broken"), on_failure=Undo("disable", "flags", "new-checkout"))

    run, _ = await scene.run()

    assert [order.key for order in orders] == [f"smoke:{run.id}"]
    assert run.remedy is not None
    assert (run.status, run.remedy["done"], run.remedy["why"]) == ("failed", False, "not today")
    assert await scene.db.read(scene.flags.find, "half") is None


async def test_who_may_not_change_flags_cannot_have_a_suite_change_them(scene: Scene) -> None:
    face = face_of(scene.feature.suites, scene.smoke.reach, scene.jobs)
    desk = Desk(face, scene.db, scene.feed.refresh)
    body = {
        "base_url": scene.target.url,
        "checks": [{"name": "alive", "path": "/live"}],
        "on_failure": {"action": "disable", "registry": "flags", "key": "x"},
        "cron": "*/5 * * * *",
    }
    tester = Principal("t", "t", frozenset({"deployments:write"}))
    operator = Principal("o", "o", frozenset({"deployments:write", "flags:write"}))

    with pytest.raises(Forbidden):
        await desk.create("api", face.parse(body), Writing(tester))
    with pytest.raises(TargetRefused):
        await desk.create("api", face.parse({**body, "base_url": "http://10.0.0.1"}), Writing(operator))
    await desk.create("api", face.parse(body), Writing(operator))
    schedule = await scene.db.read(read_schedule, "smoke.api")
    assert (schedule.job, schedule.args) == ("valhalla.smoke-scheduled", {"suite": "api"})
    due = await scene.smoke.scheduled("api")
    assert (await scene.smoke.get(SYSTEM, due))[0].actor == "schedule:smoke.api"
    assert await scene.smoke.scheduled("api") == due
    await scene.smoke.execute(due)
    assert await scene.smoke.scheduled("api") != due

    await desk.patch("api", {"cron": None}, Conditions(), Writing(operator, dry_run=True))
    await scene.db.read(read_schedule, "smoke.api")
    await desk.patch("api", {"cron": None}, Conditions(), Writing(operator))
    with pytest.raises(Problem, match="no schedule"):
        await scene.db.read(read_schedule, "smoke.api")
