"""The jobs of a ``WorkerProcess``: those that have not ended, and a bounded memory of those that have."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

from valhalla.blocks.jobs import DONE, Job, Status
from valhalla.work.errors import NoSuchJob

Cancelled = Literal["cancelled", "asked", "ended", "unknown"]


class Register:
    """Every change of a job's status happens here, under one lock."""

    def __init__(self, history: int) -> None:
        """``history`` is how many ended jobs are remembered."""
        self._history = history
        self._lock = threading.Lock()
        self._live: dict[str, Job] = {}
        self._ended: OrderedDict[str, Job] = OrderedDict()
        self._totals: dict[Status, int] = {"completed": 0, "failed": 0, "cancelled": 0}
        self.pending = 0

    def add(self, job: Job, most: int, put: Callable[[Job], object]) -> bool:
        """Accept a job unless ``most`` wait; ``put`` is called in the same step."""
        with self._lock:
            if self.pending >= most:
                return False
            # first, as it may refuse; whoever takes the job waits for this lock
            put(job)
            self._live[job.id] = job
            self.pending += 1
            return True

    def begin(self, job: Job) -> bool:
        """Say whether the job is to be run now; it may have been cancelled."""
        with self._lock:
            if job.status != "pending":
                return False
            self.pending -= 1
            job.status, job.at = "running", time.time()
            return True

    def end(
        self, job: Job, status: Status, *, result: Any = None, error: str | None = None, kind: str | None = None
    ) -> bool:
        """Note how a job ended; ``False`` if it had ended already."""
        with self._lock:
            if job.status in DONE:
                return False
            self._end(job, status, result, error, kind)
            return True

    def _end(self, job: Job, status: Status, result: Any, error: str | None, kind: str | None) -> None:
        if job.status == "pending":
            self.pending -= 1
        else:
            job.seconds = time.perf_counter() - job.began
        job.status, job.result, job.error, job.kind, job.at = status, result, error, kind, time.time()
        job.forget()
        del self._live[job.id]
        self._totals[status] += 1
        self._ended[job.id] = job
        if len(self._ended) > self._history:
            self._ended.popitem(last=False)
        if job.done is not None:
            job.done.set()

    def cancel(self, id_: str) -> Cancelled:
        """Cancel what waits, and ask what runs to end."""
        with self._lock:
            job = self._live.get(id_)
            if job is None:
                return "ended" if id_ in self._ended else "unknown"
            if job.status == "running":
                job.ask_to_end()
                return "asked"
            self._end(job, "cancelled", None, "it was cancelled", None)
            return "cancelled"

    def abandon(self, why: str) -> list[str]:
        """Cancel everything that waits and ask everything that runs to end; return the ids of what waited."""
        with self._lock:
            waiting = [job for job in self._live.values() if job.status == "pending"]
            for job in waiting:
                self._end(job, "cancelled", None, why, None)
            for job in self._live.values():
                job.ask_to_end()
        return [job.id for job in waiting]

    def wait(self, id_: str, timeout: float | None) -> dict[str, Any]:
        """Return a job's record when it has ended.

        Raises:
            NoSuchJob: it is not known (any more).
            TimeoutError: it has not ended after ``timeout`` seconds.
        """
        with self._lock:
            job = self._find(id_)
            if job is None:
                raise NoSuchJob(f"no job {id_[:50]} is known here")
            if job.status not in DONE and job.done is None:
                job.done = threading.Event()
            done = job.done
        if done is not None and not done.wait(timeout):
            raise TimeoutError(f"the job {job.name} is {job.status} after {timeout} s")
        return job.record()

    def record(self, id_: str) -> dict[str, Any] | None:
        """Return a job's record; ``None`` if it is not known (any more)."""
        with self._lock:
            job = self._find(id_)
            return None if job is None else job.record()

    def waiting(self) -> list[dict[str, Any]]:
        """Return the records of the jobs that wait, in their order."""
        with self._lock:
            return [{"id": job.id, **job.record()} for job in self._live.values() if job.status == "pending"]

    def ended(self) -> dict[str, dict[str, Any]]:
        """Return the records of the ended jobs that are remembered, oldest first."""
        with self._lock:
            return {id_: job.record() for id_, job in self._ended.items()}

    def totals(self) -> dict[Status, int]:
        """Return how many jobs ended so, also those that are forgotten."""
        with self._lock:
            return dict(self._totals)

    def _find(self, id_: str) -> Job | None:
        return self._live.get(id_) or self._ended.get(id_)
