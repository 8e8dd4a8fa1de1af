"""A job can end itself, not the worker."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.blocks.job_status import status_of
from tests.blocks.waiting import PATIENCE, until

from valhalla import WorkerProcess


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
            until(lambda: worker.lost_threads == 0 and len(worker.threads) == 1)
            # it came back with a result, and what was said stays said
            assert status_of(worker, stuck) == "failed"

    def test_when_no_thread_is_left_the_worker_does_not_claim_to_run(self) -> None:
        go_on = threading.Event()
        with WorkerProcess(job_timeout=0.02) as worker:
            for _ in range(2):
                worker.wait(worker.submit_job("stuck", go_on.wait, PATIENCE), PATIENCE)
            until(lambda: not worker.is_running)
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
