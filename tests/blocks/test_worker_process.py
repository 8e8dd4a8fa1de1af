"""The worker keeps what Batch 1's tests assert; a job belongs to whoever submitted it, and what is kept is bounded."""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.blocks.waiting import PATIENCE

from valhalla import WorkerProcess
from valhalla.blocks.errors import WorkerQueueFull
from valhalla.blocks.jobs import current_job
from valhalla.kit.log import correlated, correlation_id


class TestBatch1:
    """What the original promised."""

    def test_flags_follow_start_and_stop(self) -> None:
        worker = WorkerProcess(poll_interval=0.1)
        assert worker.is_running is False
        worker.start()
        assert worker.is_running is True
        worker.stop()
        assert worker.is_running is False
        assert worker.threads == []

    def test_a_job_is_completed_with_its_result(self) -> None:
        with WorkerProcess(poll_interval=0.1) as worker:
            id_ = worker.submit_job("add", lambda a, b: a + b, 2, b=3)
            assert isinstance(id_, str)
            record = worker.wait(id_, PATIENCE)
        assert (record["name"], record["status"], record["result"]) == ("add", "completed", 5)
        assert worker.get_job_status(id_) == record
        assert worker.completed_jobs == {id_: record}

    def test_a_job_that_raises_is_failed_with_its_error(self) -> None:
        def fail() -> None:
            raise ValueError("no such order")

        with WorkerProcess() as worker:
            record = worker.wait(worker.submit_job("fail", fail), PATIENCE)
        assert (record["status"], record["error"], record["kind"]) == ("failed", "no such order", "ValueError")

    def test_a_second_start_changes_nothing(self) -> None:
        with WorkerProcess(max_workers=2) as worker:
            before = worker.threads
            worker.start()
            assert worker.threads == before

    def test_names_of_its_own_parameters_can_be_passed_on(self) -> None:
        with WorkerProcess() as worker:
            id_ = worker.submit_job("x", lambda **given: given, job_name="a", func="b")
            assert worker.wait(id_, PATIENCE)["result"] == {"job_name": "a", "func": "b"}
            for id_ in (
                worker.submit_job(job_name="x", func=lambda **given: given, n=1),
                worker.submit_job("x", func=lambda **given: given, n=1),
            ):
                assert worker.wait(id_, PATIENCE)["result"] == {"n": 1}
            with pytest.raises(TypeError, match="func"):
                worker.submit_job("x")  # type: ignore[call-overload]


class TestContext:
    """A job belongs to whoever submitted it."""

    def test_the_correlation_id_and_every_other_variable_go_along(self) -> None:
        tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")
        seen: list[tuple[str, str | None]] = []
        with WorkerProcess(max_workers=2) as worker:
            for name in ("a", "b", "c"):
                tenant.set(name)
                with correlated(f"request-{name}"):
                    worker.submit_job("look", lambda: seen.append((tenant.get(), correlation_id())))
        assert sorted(seen) == [(name, f"request-{name}") for name in "abc"]

    def test_a_thread_beats_between_jobs_and_a_job_while_it_runs(self) -> None:
        beats = threading.Semaphore(0)

        def export() -> None:
            for _ in range(3):
                current_job().progress()  # type: ignore[union-attr]

        with WorkerProcess(poll_interval=0.005, beat=beats.release) as worker:
            for _ in range(5):
                assert beats.acquire(timeout=PATIENCE)
            worker.wait(worker.submit_job("export", export), PATIENCE)


class TestGrowth:
    """Whatever passes through, what is kept is bounded; whoever submits, nothing runs twice."""

    def test_ended_jobs_are_forgotten_and_let_go(self) -> None:
        payload = bytearray(10)
        before = sys.getrefcount(payload)
        with WorkerProcess(history=10) as worker:
            first = worker.submit_job("first", lambda: None)
            for _ in range(100):
                worker.submit_job("n", len, payload)
        assert len(worker.completed_jobs) == 10
        assert worker.totals["completed"] == 101
        assert worker.get_job_status(first) is None
        assert sys.getrefcount(payload) == before

    def test_eight_threads_submit_and_every_job_runs_once(self) -> None:
        ran: list[tuple[int, int]] = []
        with WorkerProcess(max_workers=4) as worker, ThreadPoolExecutor(8) as pool:

            def submit(who: int) -> list[str]:
                return [worker.submit_job("n", ran.append, (who, n)) for n in range(200)]

            ids = {id_ for batch in pool.map(submit, range(8)) for id_ in batch}
        assert len(ids) == 1600
        assert sorted(ran) == [(who, n) for who in range(8) for n in range(200)]

    @pytest.mark.slow
    def test_a_million_jobs_leave_nothing_behind(self) -> None:
        def size() -> int:
            with Path("/proc/self/statm").open() as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        with WorkerProcess(max_pending=1000) as worker:
            sizes = list[int]()
            for _ in range(10):
                left = 100_000
                while left:
                    try:
                        worker.submit_job("n", int)
                        left -= 1
                    except WorkerQueueFull:
                        time.sleep(0.001)
                sizes.append(size())
        assert worker.totals["completed"] == 1_000_000
        assert max(sizes) - sizes[0] < 5_000_000
