"""The idempotency manager keeps what Batch 1's own tests assert, and not what it got wrong."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from valhalla import IdempotencyManager
from valhalla.guard import BadArguments, Guard, KeyReuse
from valhalla.kernel.problems import Invalid


class TestIdempotencyManager:
    """Once per key."""

    def test_what_the_original_promised(self) -> None:
        manager = IdempotencyManager()
        calls: list[int] = []

        def work() -> int:
            calls.append(1)
            return 42

        assert not manager.is_duplicate("k")
        assert manager.get_cached_result("k") is None
        assert [manager.process_idempotent("k", work) for _ in range(3)] == [42, 42, 42]
        assert calls == [1]
        assert manager.is_duplicate("k")
        assert manager.get_cached_result("k") == 42
        assert len(manager) == 1

    def test_time_runs_from_the_result(self) -> None:
        now = [1000.0]
        manager = IdempotencyManager(ttl_seconds=10, guard=Guard(clock=lambda: now[0]))

        def slow() -> float:
            now[0] += 60
            return now[0]

        first = manager.process_idempotent("k", slow)
        assert manager.process_idempotent("k", slow) == first
        now[0] += 11
        assert not manager.is_duplicate("k")
        assert manager.get_cached_result("k") is None
        assert manager.process_idempotent("k", slow) != first
        now[0] += 11
        assert manager.clear_expired() >= 1
        assert len(manager) == 0

    def test_callers_at_the_same_moment_share_one_run(self) -> None:
        manager = IdempotencyManager()
        calls: list[int] = []

        def work() -> int:
            calls.append(1)
            time.sleep(0.05)
            return len(calls)

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: manager.process_idempotent("k", work), range(8)))
        finally:
            sys.setswitchinterval(before)
        assert (calls, answers) == ([1], [1] * 8)

    def test_other_arguments_are_another_intention(self) -> None:
        manager = IdempotencyManager()
        manager.process_idempotent("k", lambda amount: amount, 1)
        with pytest.raises(KeyReuse):
            manager.process_idempotent("k", lambda amount: amount, 2)
        with pytest.raises(BadArguments):
            manager.process_idempotent("other", lambda amount: amount, float("nan"))

    def test_nothing_and_what_changes(self) -> None:
        manager = IdempotencyManager()
        calls: list[int] = []
        for _ in range(2):
            assert manager.process_idempotent("none", lambda: calls.append(1)) is None
        assert calls == [1]
        assert manager.is_duplicate("none")
        first = manager.process_idempotent("list", lambda: [1])
        first.append(2)
        assert manager.process_idempotent("list", lambda: [1]) == [1]
        assert manager.get_cached_result("list") == [1]

    def test_a_failure_leaves_the_key_free(self) -> None:
        manager = IdempotencyManager()
        with pytest.raises(ZeroDivisionError):
            manager.process_idempotent("k", lambda: 1 / 0)
        assert not manager.is_duplicate("k")
        assert manager.process_idempotent("k", lambda: 5) == 5

    def test_a_lifetime_is_above_zero(self) -> None:
        with pytest.raises(Invalid):
            IdempotencyManager(ttl_seconds=0)
