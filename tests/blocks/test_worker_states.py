"""What a job's state is, and what cancelling does to it."""

from __future__ import annotations

import threading

import pytest
from tests.blocks.job_status import status_of
from tests.blocks.waiting import PATIENCE

from valhalla import WorkerProcess
from valhalla.blocks.errors import WorkerNotRunning, WorkerQueueFull
from valhalla.blocks.jobs import current_job
from valhalla.kernel.problems import Invalid
from valhalla.work.errors import NoSuchJob


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
            assert [status_of(worker, id_) for id_ in (first, second)] == ["running", "pending"]
            assert [(one["id"], one["name"]) for one in worker.job_queue] == [(second, "second")]
            assert worker.pending_count == 1
            assert worker.get_job_status("never") is None
            with pytest.raises(TimeoutError, match="pending"):
                worker.wait(second, 0.001)
            go_on.set()
        assert [status_of(worker, id_) for id_ in (first, second)] == ["completed", "completed"]
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
        assert (status_of(worker, id_), ran) == ("cancelled", [])
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
