"""Dry runs, plans and grants: nothing happens, and then only what was planned."""

# ruff: noqa: PLW0108 - a lambda names the parameters, which are what is guarded

from __future__ import annotations

from typing import Any

import pytest
from tests.guard.faces import Face

from valhalla.guard import BadName, Denied, Guard, Held, LimitExceeded, StalePlan, Verdict, current, sealed
from valhalla.guard.contracts import Scan


@pytest.mark.parametrize("effect", ["irreversible", "idempotent", None])
def test_what_is_not_declared_harmless_does_not_run(face: Face, effect: str | None) -> None:
    options = {} if effect is None else {"effect": effect}
    act = face.action("payment", lambda order: face.ran.append(order), key="order", **options)
    with face.guard.dry_run() as dry:
        with pytest.raises(Held):
            face.call(act, "o1")
        outcome = face.outcome(act, "o1")
    assert (outcome.status, outcome.ok, face.ran) == ("planned", False, [])
    assert outcome.coverage
    assert [node.name for node in dry.nodes] == ["payment", "payment"]


@pytest.mark.parametrize("effect", ["reversible", "none"])
def test_what_is_declared_harmless_runs(face: Face, effect: str) -> None:
    act = face.action("read", lambda: face.ran.append(current().dry) or "rows", effect=effect)
    with face.guard.dry_run():
        assert face.call(act) == "rows"
    assert face.ran == [True]


def test_the_effect_inside_a_harmless_action_does_not_run(face: Face) -> None:
    pay = face.guard.action("payment", key="order")(lambda order: face.ran.append(order))
    outer = face.action("checkout", lambda order: pay(order), effect="reversible")
    with face.guard.dry_run() as dry, pytest.raises(Held):
        face.call(outer, "o1")
    assert face.ran == []
    assert [child.name for child in dry.nodes[0].children] == ["payment"]


@pytest.mark.parametrize(
    "name", ["process_payment", "payments", "wire_transfer", "drop_table", "send_email", "read_data"]
)
def test_a_name_that_nobody_declared_does_not_run_dry(face: Face, name: str) -> None:
    run = face.guard.arun if face.is_async else face.guard.run
    with face.guard.dry_run(), pytest.raises(Held):
        face.call(run, name, face.function(lambda: face.ran.append(name)))
    assert face.ran == []


@pytest.mark.parametrize(
    "name",
    ["Payment", "payment ", " payment", "paym\u0435nt", "PAYMENT", "payment\n", "", "x" * 101, "1pay", "p y", None],
)
def test_a_name_that_looks_like_another_is_refused(face: Face, name: Any) -> None:
    face.action("payment", lambda: face.ran.append(1))
    run = face.guard.arun if face.is_async else face.guard.run
    body = face.function(lambda: face.ran.append(1))
    with pytest.raises(BadName):
        face.call(run, name, body)
    with face.guard.dry_run(), pytest.raises(BadName):
        face.call(run, name, body)
    with pytest.raises(BadName):
        face.action(name, lambda: None)
    assert face.ran == []


def test_a_dry_run_consumes_nothing_and_is_not_remembered(face: Face) -> None:
    act = face.action(
        "payment",
        lambda order: face.ran.append(order) or "live",
        key="order",
        limit="1/hour",
        simulate=lambda order: "dry",
    )
    with face.guard.dry_run():
        assert [face.call(act, "o1") for _ in range(5)] == ["dry"] * 5
    assert face.guard.store.scan(Scan("all")).records == ()
    assert face.call(act, "o1") == "live"
    with pytest.raises(LimitExceeded):
        face.call(act, "o2")


def test_the_simulation_sees_the_arguments_and_is_dry_itself(face: Face) -> None:
    pay = face.guard.action("payment")(lambda: face.ran.append("paid"))
    act = face.action("refund", lambda order: None, simulate=face.function(lambda order: (order, current().dry)))
    with face.guard.dry_run():
        assert face.call(act, "o1") == ("o1", True)
    sneaky = face.action("sneaky", lambda: None, simulate=lambda: pay())
    with face.guard.dry_run(), pytest.raises(Held):
        face.call(sneaky)
    assert face.ran == []


def test_live_inside_a_dry_run_stays_dry(face: Face) -> None:
    act = face.action("payment", lambda: face.ran.append(1))
    with face.guard.dry_run(), face.guard.acting("ana", sandbox=True), pytest.raises(Held):
        face.call(act)
    assert face.ran == []


def test_a_plan_tells_secrets_to_nobody_and_what_policy_denies(face: Face) -> None:
    def policy(proposal: Any) -> Any:
        return (Verdict.DENY, "frozen") if proposal.name == "payment" else None

    face.guard.policy = policy
    act = face.action("payment", lambda order, password: None, approval="2 of finance", limit="5/hour")
    with face.guard.dry_run() as dry, pytest.raises(Held):
        face.call(act, "o1", "hunter2")
    (node,) = dry.nodes
    assert node.arguments == {"order": "o1", "password": "***"}
    assert (node.approval, node.limits, node.reason) == ("2 of finance", ("per-hour",), "frozen")
    with pytest.raises(Denied, match="frozen"):
        face.call(act, "o1", "hunter2")


class Shop:
    """A flow of three actions, two of them nested."""

    def __init__(self, face: Face, **options: Any) -> None:
        self.face = face
        self.guard = face.guard
        ran = face.ran
        guard = face.guard
        self.items = ["a", "b"]
        ship = guard.action("ship", key="item", simulate=lambda item: None)(lambda item: ran.append(("ship", item)))
        self.pay: Any = guard.action("payment", key="order", simulate=lambda order, amount: "p", **options)(
            lambda order, amount: ran.append(("pay", order, amount))
        )

        @guard.action("read", effect="none")
        def read() -> list[str]:
            return self.items

        @guard.action("parcel", effect="reversible")
        def parcel(items: list[str]) -> None:
            for item in items:
                ship(item)

        def flow(amount: int = 5) -> str:
            self.pay("o1", amount)
            parcel(read())
            return "done"

        self.flow = face.function(flow)

    def plan(self, **options: Any) -> Any:
        """Make a plan of the flow."""
        return self.face.do("plan", self.flow, **options)

    def apply(self, plan: Any) -> Any:
        """Apply it."""
        return self.face.do("apply", plan)


def test_a_plan_is_a_tree_and_its_application_does_just_that(face: Face) -> None:
    shop = Shop(face)
    plan = shop.plan()
    assert (plan.complete, plan.value, face.ran) == (True, "done", [])
    assert [node.name for node in plan.nodes] == ["payment", "read", "parcel"]
    assert [node.name for node in plan.nodes[2].children] == ["ship", "ship"]
    assert "ship(item='b') [irreversible, simulated]" in str(plan)
    assert shop.apply(plan) == "done"
    assert face.ran == [("pay", "o1", 5), ("ship", "a"), ("ship", "b")]


def test_a_plan_is_applied_once(face: Face) -> None:
    shop = Shop(face)
    plan = shop.plan()
    shop.apply(plan)
    with pytest.raises(StalePlan):
        shop.apply(plan)
    assert len(face.ran) == 3


def test_a_child_that_was_not_planned_is_held(face: Face) -> None:
    shop = Shop(face)
    plan = shop.plan()
    shop.items = ["a", "c"]
    with pytest.raises(Held):
        shop.apply(plan)
    assert ("ship", "c") not in face.ran
    assert face.ran == [("pay", "o1", 5)], "its parent had another fingerprint, so it did not begin either"


def test_a_grant_is_spent_by_its_first_use(face: Face) -> None:
    guard = face.guard
    ship = guard.action("ship", simulate=lambda item: None)(lambda item: face.ran.append(item))
    times = [1]

    def flow() -> None:
        for _ in range(times[0]):
            ship("a")

    plan = face.do("plan", face.function(flow))
    times[0] = 3
    with pytest.raises(Held):
        face.do("apply", plan)
    assert face.ran == ["a"]


def test_a_changed_plan_is_refused(face: Face) -> None:
    shop = Shop(face)
    plan = shop.plan()
    plan.nodes[2].children.pop()
    with pytest.raises(StalePlan):
        shop.apply(plan)
    assert face.ran == []


def test_people_approve_the_tree_and_its_actions_need_no_more(face: Face) -> None:
    shop = Shop(face, approval="2 of finance")
    plan = shop.plan(approval="1 of ops then 1 of finance")
    with pytest.raises(Held) as caught:
        shop.apply(plan)
    face.do("approve", caught.value.id, by="cy")
    with pytest.raises(Held):
        shop.apply(plan)
    assert face.ran == []
    face.do("approve", caught.value.id, by="ana")
    assert shop.apply(plan) == "done"
    with pytest.raises(StalePlan):
        shop.apply(plan)
    assert len(face.ran) == 3


def test_a_plan_that_nobody_approved_does_not_replace_approvals(face: Face) -> None:
    shop = Shop(face, approval="2 of finance")
    with pytest.raises(Held):
        shop.apply(shop.plan())
    assert face.ran == []


def test_a_plan_that_stopped_says_where(guard: Guard) -> None:
    @guard.action("payment")
    def pay() -> None: ...

    plan = guard.plan(pay)
    assert not plan.complete
    assert "stopped: payment is not run in a dry run" in str(plan)


def test_a_dry_run_says_whether_the_way_out_is_closed(guard: Guard) -> None:
    with guard.dry_run() as dry:
        assert dry.coverage["egress"].startswith("open")
    with sealed(), guard.dry_run() as dry:
        assert dry.coverage["egress"].startswith("sealed by ")
