"""The worker keeps what Batch 1's tests assert, and loses, doubles and hides nothing."""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from valhalla import WorkerProcess
from valhalla.blocks.errors import WorkerNotRunning, WorkerQueueFull
from valhalla.blocks.jobs import current_job
from valhalla.kernel.problems import Invalid
from valhalla.kit.log import correlated, correlation_id
from valhalla.work.errors import NoSuchJob

PATIENCE = 30.0


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


class TestStates:
    """Pending, running, ended and unknown are told apart."""

    def test_every_state_is_told(self) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            go_on.wait(PATIENCE)

        with WorkerProcess() as worker:
            first, second = worker.submit_job("first", hold), worker.submit_job("second", hold)
            assert begun.wait(PATIENCE)
            assert [_status(worker, id_) for id_ in (first, second)] == ["running", "pending"]
            assert [(one["id"], one["name"]) for one in worker.job_queue] == [(second, "second")]
            assert worker.pending_count == 1
            assert worker.get_job_status("never") is None
            with pytest.raises(TimeoutError, match="pending"):
                worker.wait(second, 0.001)
            go_on.set()
        assert [_status(worker, id_) for id_ in (first, second)] == ["completed", "completed"]
        with pytest.raises(NoSuchJob):
            worker.wait("never")

    def test_what_is_not_accepted_says_so(self) -> None:
        worker = WorkerProcess()
        with pytest.raises(WorkerNotRunning):
            worker.submit_job("early", print)
        worker.start()
        worker.stop()
        with pytest.raises(WorkerNotRunning):
            worker.submit_job("late", print)

    def test_the_queue_has_an_end(self) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            go_on.wait(PATIENCE)

        with WorkerProcess(max_pending=2) as worker:
            worker.submit_job("running", hold)
            assert begun.wait(PATIENCE)
            for _ in range(2):
                worker.submit_job("waiting", lambda: None)
            with pytest.raises(WorkerQueueFull) as full:
                worker.submit_job("too many", lambda: None)
            assert full.value.retry_after is not None
            go_on.set()
        assert worker.totals["completed"] == 3

    @pytest.mark.parametrize("wrong", ["poll_interval", "max_workers", "max_pending", "history", "job_timeout"])
    def test_numbers_make_sense(self, wrong: str) -> None:
        with pytest.raises(Invalid):
            WorkerProcess(**{wrong: -1})  # pyright: ignore[reportArgumentType]


class TestStop:
    """Nothing that was accepted is lost without a word."""

    def test_stop_finishes_what_waits(self) -> None:
        done: list[int] = []
        worker = WorkerProcess(max_workers=2)
        worker.start()
        for number in range(500):
            worker.submit_job("n", done.append, number)
        assert worker.stop(PATIENCE) == []
        assert sorted(done) == list(range(500))

    def test_after_the_deadline_the_rest_is_cancelled_and_named(self) -> None:
        begun = threading.Event()

        def endless() -> None:
            begun.set()
            while True:
                current_job().check()  # type: ignore[union-attr]
                time.sleep(0.001)

        ran: list[int] = []
        worker = WorkerProcess()
        worker.start()
        running = worker.submit_job("endless", endless)
        waiting = [worker.submit_job("waiting", ran.append, n) for n in range(3)]
        assert begun.wait(PATIENCE)
        assert worker.stop(0.05) == waiting
        assert {_status(worker, id_) for id_ in waiting} == {"cancelled"}
        assert worker.wait(running, PATIENCE)["status"] == "cancelled"
        assert ran == []

    def test_a_restart_has_no_more_threads_than_asked_for(self) -> None:
        go_on = threading.Event()
        worker = WorkerProcess()
        worker.start()
        stuck = worker.submit_job("stuck", go_on.wait, PATIENCE)
        worker.stop(0.01)
        worker.start()
        assert worker.wait(worker.submit_job("next", lambda: 1), PATIENCE)["result"] == 1
        assert len(worker.threads) == 1
        go_on.set()
        assert worker.wait(stuck, PATIENCE)["status"] == "completed"
        worker.stop()

    def test_a_job_may_stop_its_own_worker(self) -> None:
        worker = WorkerProcess()
        worker.start()
        id_ = worker.submit_job("stop", worker.stop)
        assert worker.wait(id_, PATIENCE)["status"] == "completed"
        assert worker.is_running is False

    def test_no_submit_is_lost_between_the_last_job_and_the_stop(self) -> None:
        for _ in range(5):
            done: list[int] = []
            worker = WorkerProcess(max_workers=2)
            worker.start()
            accepted: list[int] = []

            def submit(done: list[int] = done, accepted: list[int] = accepted, worker: WorkerProcess = worker) -> None:
                for number in range(10_000):
                    try:
                        worker.submit_job("n", done.append, number)
                    except WorkerNotRunning:
                        return
                    accepted.append(number)

            with ThreadPoolExecutor(2) as pool:
                calls = [pool.submit(submit) for _ in range(2)]
                worker.stop(PATIENCE)
                for call in calls:
                    call.result()
            assert sorted(done) == sorted(accepted)

    def test_a_fork_has_no_threads_and_says_so(self) -> None:
        with WorkerProcess() as worker:
            if (child := os.fork()) == 0:
                os._exit(int(worker.is_running))
            assert os.waitpid(child, 0)[1] == 0
            assert worker.is_running


class TestBadJobs:
    """A job can end itself, not the worker."""

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
    def test_whatever_a_job_raises_its_thread_goes_on(self, kind: type[BaseException]) -> None:
        def bad() -> None:
            raise kind("out")

        with WorkerProcess() as worker:
            record = worker.wait(worker.submit_job("bad", bad), PATIENCE)
            assert (record["status"], record["kind"]) == ("failed", kind.__name__)
            assert worker.wait(worker.submit_job("good", lambda: 1), PATIENCE)["result"] == 1
            assert worker.is_running

    def test_an_exception_that_cannot_speak_is_named(self) -> None:
        class MuteError(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        def bad() -> None:
            raise MuteError

        with WorkerProcess() as worker:
            assert worker.wait(worker.submit_job("mute", bad), PATIENCE)["error"] == "MuteError"

    def test_a_job_past_its_time_is_failed_and_another_thread_goes_on(self) -> None:
        go_on = threading.Event()
        with WorkerProcess() as worker:
            stuck = worker.submit("stuck", go_on.wait, (PATIENCE,), timeout=0.02)
            record = worker.wait(stuck, PATIENCE)
            assert (record["status"], record["kind"]) == ("failed", "TimeoutError")
            assert worker.wait(worker.submit_job("next", lambda: 1), PATIENCE)["result"] == 1
            assert worker.lost_threads == 1
            go_on.set()
            _until(lambda: worker.lost_threads == 0 and len(worker.threads) == 1)
            # it came back with a result, and what was said stays said
            assert _status(worker, stuck) == "failed"

    def test_when_no_thread_is_left_the_worker_does_not_claim_to_run(self) -> None:
        go_on = threading.Event()
        with WorkerProcess(job_timeout=0.02) as worker:
            for _ in range(2):
                worker.wait(worker.submit_job("stuck", go_on.wait, PATIENCE), PATIENCE)
            _until(lambda: not worker.is_running)
            waiting = worker.submit_job("waiting", lambda: 1)
            go_on.set()
            assert worker.wait(waiting, PATIENCE)["result"] == 1
            assert worker.is_running

    def test_failures_are_told(self) -> None:
        told: list[dict[str, Any]] = []

        def listen(record: dict[str, Any]) -> None:
            told.append(record)
            raise RuntimeError("a listener that fails")

        with WorkerProcess(on_failure=listen) as worker:
            id_ = worker.submit_job("divide", lambda: 1 / 0)
            worker.wait(worker.submit_job("next", lambda: None), PATIENCE)
        ((record),) = told
        assert (record["id"], record["kind"]) == (id_, "ZeroDivisionError")

    def test_secrets_are_not_kept_in_errors(self) -> None:
        def bad() -> None:
            raise ValueError("cannot reach postgresql://ana:hunter2@db/shop")

        with WorkerProcess() as worker:
            assert "hunter2" not in worker.wait(worker.submit_job("bad", bad), PATIENCE)["error"]


class TestCancel:
    """Cancelling says what it did."""

    def test_what_waits_never_runs(self) -> None:
        go_on, ran = threading.Event(), list[int]()
        with WorkerProcess() as worker:
            worker.submit_job("hold", go_on.wait, PATIENCE)
            id_ = worker.submit_job("cancelled", ran.append, 1)
            assert worker.cancel(id_) == "cancelled"
            assert worker.cancel(id_) == "ended"
            go_on.set()
        assert (_status(worker, id_), ran) == ("cancelled", [])
        assert worker.cancel("never") == "unknown"

    def test_what_runs_is_asked_and_says_how_far_it_is(self) -> None:
        half_way, go_on = threading.Event(), threading.Event()

        def export() -> None:
            job = current_job()
            assert job is not None
            job.progress(0.5, "half", rows=50)
            half_way.set()
            go_on.wait(PATIENCE)
            job.check()

        with WorkerProcess() as worker:
            id_ = worker.submit_job("export", export)
            assert half_way.wait(PATIENCE)
            record = worker.get_job_status(id_)
            assert record is not None
            assert record["progress"] == {"fraction": 0.5, "note": "half", "rows": 50}
            assert worker.cancel(id_) == "asked"
            go_on.set()
            assert worker.wait(id_, PATIENCE)["status"] == "cancelled"
        assert current_job() is None


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


def _status(worker: WorkerProcess, id_: str) -> str:
    record = worker.get_job_status(id_)
    assert record is not None
    return record["status"]


def _until(true: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)
