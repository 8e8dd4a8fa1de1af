"""One guarded call of the orchestrator: once, within limits, held, told of, or tried again."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.blocks.provider import Provider

from valhalla import SandboxOrchestrator
from valhalla.guard import DoneFailed, Indeterminate, NotDone
from valhalla.guard.errors import BadDeclaration
from valhalla.kit.log import correlated


class TestRun:
    """One call, everything that applies to it."""

    def test_a_repetition_is_answered_and_charged_nothing(self, live: SandboxOrchestrator) -> None:
        provider = Provider()
        outcomes = [live.run("payment", provider.pay, "A-1", 500, key="A-1") for _ in range(3)]
        assert [one.status for one in outcomes] == ["succeeded", "replayed", "replayed"]
        assert {one.unwrap() for one in outcomes} == {"receipt-1"}
        assert live.governor.get_status("payment")["current_actions"] == 1
        assert live.get_status()["idempotent_operations"] == 1
        # an equal payment of another order is another payment
        assert live.run("payment", provider.pay, "A-2", 500, key="A-2").status == "succeeded"
        assert live.run("payment", provider.pay, "A-1", 999, key="A-1").status == "denied"
        assert provider.paid == [("A-1", 500), ("A-2", 500)]

    def test_fifty_threads_with_one_key_pay_once(self, live: SandboxOrchestrator) -> None:
        provider = Provider()

        def slow(order: str, cents: int) -> str:
            time.sleep(0.01)
            return provider.pay(order, cents)

        with ThreadPoolExecutor(50) as pool:
            calls = [pool.submit(live.run, "payment", slow, "A-1", 500, key="A-1") for _ in range(50)]
            values = {call.result().unwrap() for call in calls}
        assert (values, provider.paid) == ({"receipt-1"}, [("A-1", 500)])

    def test_a_limit_refuses_and_is_an_alert_and_a_denial(self) -> None:
        with SandboxOrchestrator(dry_run=False, limits={"payment": (2, 3600)}) as live:
            statuses = [live.run("payment", len, "x", key=f"k{n}").status for n in range(3)]
            assert statuses == ["succeeded", "succeeded", "limited"]
            assert live.governor.get_status("payment")["denied_count"] == 1
            assert [entry["resource"] for entry in live.governor.violation_log] == ["payment"]
            (alert,) = live.alert_system.get_alerts()
            assert (alert["task"], alert["severity"], alert["context"]["status"]) == ("payment", "warning", "limited")

    def test_an_irreversible_action_needs_a_limit(self, live: SandboxOrchestrator) -> None:
        ran: list[int] = []
        assert live.run("paymnt", ran.append, 1).status == "limited"
        assert ran == []
        assert live.run("paymnt", ran.append, 1, resource="payment").status == "succeeded"
        assert live.run("read_orders", lambda: 1).status == "succeeded"

    def test_what_was_not_done_is_tried_again(self, live: SandboxOrchestrator) -> None:
        tries: list[int] = []

        def busy() -> str:
            tries.append(1)
            if len(tries) < 3:
                raise NotDone("429")
            return "done"

        live.retry_manager.base_delay = 0.001
        assert live.run("payment", busy, key="k").value == "done"
        assert len(tries) == 3

    def test_what_may_have_been_done_is_not_tried_again_and_is_critical(self, live: SandboxOrchestrator) -> None:
        tries: list[int] = []

        def silent() -> None:
            tries.append(1)
            raise TimeoutError("no answer from https://ana:hunter2@bank")

        first, second = (live.run("payment", silent, key="k") for _ in range(2))
        assert (first.status, second.status, len(tries)) == ("indeterminate", "indeterminate", 1)
        assert isinstance(first.error, TimeoutError)
        assert isinstance(second.error, Indeterminate)
        alerts = live.alert_system.get_alerts(minimum="critical")
        assert {one["task"] for one in alerts} == {"payment"}
        assert "hunter2" not in str(alerts)

    def test_a_final_failure_is_an_error(self, live: SandboxOrchestrator) -> None:
        def declined() -> None:
            raise DoneFailed("card declined")

        assert live.run("payment", declined, key="k").status == "failed"
        (alert,) = live.alert_system.get_alerts()
        assert (alert["severity"], alert["reason"]) == ("error", "DoneFailed: card declined")

    def test_a_large_payment_is_held_until_somebody_approves(self, live: SandboxOrchestrator) -> None:
        provider = Provider()

        def buy() -> Any:
            return live.run("payment", provider.pay, "A-1", 50_000, key="A-1", approval="1 of finance")

        held = buy()
        assert (held.status, provider.paid) == ("held", [])
        assert live.alert_system.get_alerts(severity="info")[0]["context"]["id"] == held.id
        live.guard.approve(held.id, by="ana")
        assert buy().value == "receipt-1"
        assert buy().status == "replayed"
        assert provider.paid == [("A-1", 50_000)]

    def test_what_was_declared_holds(self, live: SandboxOrchestrator) -> None:
        provider = Provider()
        pay = live.guard.action("invoice", key="order", limit="1/hour")(provider.pay)
        assert live.run("invoice", pay, "A-1", 5).status == "succeeded"
        assert live.run("invoice", pay, "A-1", 5).status == "replayed"
        assert live.run("invoice", pay, "A-2", 5).status == "limited"
        assert provider.paid == [("A-1", 5)]

    def test_everything_is_written_under_one_id(self, live: SandboxOrchestrator) -> None:
        def refuse() -> None:
            raise DoneFailed("no")

        with correlated("req-1"):
            outcome = live.run("payment", refuse, key="k")
        assert live.alert_system.get_alerts()[0]["context"]["correlation_id"] == "req-1"
        assert live.guard.get(outcome.id or "").correlation == "req-1"
        assert [(line.event, line.state) for line in live.ledger() if line.id == outcome.id] == [
            ("begin", "executing"),
            ("finish", "failed"),
        ]

    def test_a_mistake_of_the_caller_is_raised(self, live: SandboxOrchestrator) -> None:
        with pytest.raises(TypeError):
            live.run("payment", lambda order: order)
        with pytest.raises(SystemExit):
            live.run("read_x", lambda: exit(3))

    async def test_async_functions(self, live: SandboxOrchestrator) -> None:
        async def pay(order: str) -> str:
            await asyncio.sleep(0)
            return order

        assert (await live.arun("payment", pay, "A-1", key="A-1")).value == "A-1"
        assert (await live.arun("payment", pay, "A-1", key="A-1")).status == "replayed"
        with pytest.raises(BadDeclaration, match="async"):
            live.run("payment", pay, "A-2")
        async with SandboxOrchestrator() as sandbox:
            assert (await sandbox.arun("payment", pay, "A-1", key="A-1")).status == "planned"
