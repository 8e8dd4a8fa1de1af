"""The worker stops: nothing that was accepted is lost without a word."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tests.blocks.job_status import status_of
from tests.blocks.waiting import PATIENCE

from valhalla import WorkerProcess
from valhalla.blocks.errors import WorkerNotRunning
from valhalla.blocks.jobs import current_job


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
        assert {status_of(worker, id_) for id_ in waiting} == {"cancelled"}
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
