"""The blocks and ``async def``: what is awaited later is locked, retried and deduplicated like anything else."""

from __future__ import annotations

import asyncio

import pytest

from valhalla import DryRunLock, GovernorEnforcer, IdempotencyManager, RetryBackoffManager
from valhalla.guard import Guard, Held


async def test_what_an_async_action_does_is_locked_too() -> None:
    guard, paid = Guard(), list[int]()
    pay = guard.action("payment")(paid.append)
    lock = DryRunLock(guard=guard)

    async def read_and_pay() -> None:
        await asyncio.sleep(0)
        pay(1)

    awaitable = lock.execute("read_data", read_and_pay)
    assert lock.get_execution_log("read_data") == []
    with pytest.raises(Held):
        await awaitable
    assert paid == []
    assert [entry["status"] for entry in lock.get_execution_log("read_data")] == ["error"]

    async def read_data(what: str) -> str:
        await asyncio.sleep(0)
        return what

    assert await lock.execute("read_data", read_data, "rows") == "rows"
    assert lock.get_execution_log("read_data")[-1]["status"] == "executed"
    assert lock.execute("payment", read_data, "rows") == {"dry_run": True, "action": "payment", "result": None}


async def test_callers_at_once_run_an_async_function_once() -> None:
    manager, ran = IdempotencyManager(), list[int]()

    async def charge(cents: int) -> dict[str, int]:
        await asyncio.sleep(0.01)
        ran.append(cents)
        return {"cents": cents}

    results = await asyncio.gather(*(manager.process_idempotent("k", charge, 5) for _ in range(8)))
    assert results == [{"cents": 5}] * 8
    assert ran == [5]
    assert manager.get_cached_result("k") == {"cents": 5}


async def test_an_async_function_is_retried() -> None:
    manager, tries = RetryBackoffManager(max_retries=3, base_delay=0.001), list[int]()

    async def flaky() -> str:
        await asyncio.sleep(0)
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("away")
        return "there"

    assert await manager.execute_with_retry(flaky, "call") == "there"
    assert [entry["status"] for entry in manager.get_retry_log("call")] == ["failed", "failed", "success"]


def test_the_log_of_denials_is_a_list_that_nobody_can_change() -> None:
    governor = GovernorEnforcer()
    governor.check_limit("unknown")
    (entry,) = governor.violation_log[-10:]
    entry["resource"] = "forged"
    assert governor.violation_log[0]["resource"] == "unknown"
