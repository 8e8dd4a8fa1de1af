"""``WorkerProcess``: callables in threads of this process, with nothing lost silently."""

from __future__ import annotations

import contextvars
import functools
import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, overload

from valhalla.blocks.crew import Crew, Hand, Watch
from valhalla.blocks.errors import WorkerNotRunning, WorkerQueueFull
from valhalla.blocks.jobs import Job, Status
from valhalla.blocks.register import Cancelled, Register
from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Invalid
from valhalla.kit.log import get_logger
from valhalla.kit.redact import text
from valhalla.work.context import JobCancelled

_log = get_logger("blocks.worker")


class WorkerProcess:
    """Runs jobs in ``max_workers`` threads, in order of arrival, in the context of whoever submitted them.

    Jobs live in this process and end with it; those that must survive belong to ``valhalla worker``.
    """

    def __init__(
        self,
        poll_interval: float = 5.0,
        max_workers: int = 1,
        *,
        max_pending: int = 100_000,
        history: int = 1000,
        job_timeout: float | None = None,
        beat: Callable[[], object] | None = None,
        on_failure: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        """Nothing polls: ``poll_interval`` is how often, in seconds, an idle thread calls ``beat``.

        ``history`` is how many ended jobs are remembered; ``job_timeout`` how many seconds a job has unless it says
        otherwise; ``on_failure`` is called with the record of each job that failed, in the job's thread.

        Raises:
            Invalid: a number is not above zero.
        """
        if not (poll_interval > 0 and max_workers > 0 and max_pending > 0 and history > 0 and (job_timeout or 1) > 0):
            raise Invalid("the numbers of a worker must be above zero")
        self.poll_interval, self.max_workers, self.max_pending = poll_interval, max_workers, max_pending
        self._job_timeout = job_timeout
        self._beat: Callable[[], object] = beat or _nothing
        self._on_failure = on_failure
        self._turn = threading.Lock()
        self._register = Register(history)
        self._prefix, self._numbers = new_id()[:9], itertools.count()
        self._crew: Crew | None = None
        self._watch: Watch | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- life ----------------------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether jobs are accepted and a thread is there to run them; a fork of the process has no threads."""
        crew = self._crew
        return crew is not None and self._pid == os.getpid() and crew.working > 0

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads that live."""
        return [] if self._crew is None else self._crew.threads

    @property
    def lost_threads(self) -> int:
        """How many threads have a job that ran out of time and does not end; others took their places."""
        return 0 if self._crew is None else self._crew.lost

    def start(self) -> None:
        """Begin; does nothing but say so if it runs."""
        with self._turn:
            if self._crew is not None and self._pid == os.getpid():
                _log.warning("the worker runs already")
                return
            crew = Crew(self.max_workers, self._execute, self._beat, every=self.poll_interval, spare=self.max_workers)
            self._watch = Watch(functools.partial(self._late, crew))
            self._crew, self._pid = crew, os.getpid()

    def stop(self, timeout: float = 5.0, *, drain: bool = True) -> list[str]:
        """Accept nothing more, and finish what was accepted; return the ids of what was not begun.

        After ``timeout`` seconds (at once, without ``drain``) what waits is cancelled, and what runs is asked to end:
        a thread cannot be stopped from outside. Does nothing if it does not run.
        """
        with self._turn:
            crew, self._crew = self._crew, None
            if crew is None or self._watch is None:
                return []
            left = [] if drain else self._register.abandon("the worker was stopped")
            crew.dismiss()
            if not crew.join(time.monotonic() + timeout):
                left += self._register.abandon("the worker was stopped before its turn")
            self._watch.close()
            if left:
                _log.warning("stopped with jobs that were not begun", jobs=len(left))
            return left

    # -- jobs ----------------------------------------------------------------------------------------------------------

    @overload
    def submit_job(self, job_name: str, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> str: ...

    @overload
    def submit_job(self, job_name: str, /, *, func: Callable[..., Any], **kwargs: Any) -> str: ...

    @overload
    def submit_job(self, *, job_name: str, func: Callable[..., Any], **kwargs: Any) -> str: ...

    def submit_job(self, *args: Any, **kwargs: Any) -> str:
        """Put ``func(*args, **kwargs)`` into the queue and return the job's id.

        The first two may be given by name: ``submit_job(job_name=…, func=…)``. Given by their place, these names are
        free for the function's own arguments.

        Raises:
            WorkerNotRunning: it was not started, or was stopped.
            WorkerQueueFull: ``max_pending`` jobs wait.
            TypeError: name or function is missing.
        """
        for name in ("job_name", "func")[len(args) :]:
            if name not in kwargs:
                raise TypeError(f"submit_job() needs {name!r}")
            args += (kwargs.pop(name),)
        return self.submit(args[0], args[1], args[2:], kwargs)

    def submit(
        self,
        job_name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> str:
        """Do as ``submit_job``, with ``timeout``: a job that runs longer is failed and asked to end."""
        seconds = self._job_timeout if timeout is None else timeout
        id_ = f"{self._prefix}{next(self._numbers):07x}"
        context = contextvars.copy_context()
        job = Job(id_, job_name, func, args, kwargs or {}, context, seconds, self._beat, time.time())
        crew = self._crew
        if crew is None or self._pid != os.getpid():
            raise WorkerNotRunning(f"{job_name} was not accepted: the worker does not run")
        if not self._register.add(job, self.max_pending, crew.put):
            raise WorkerQueueFull(f"{job_name} was not accepted: {self.max_pending} jobs wait", retry_after=1.0)
        return id_

    def get_job_status(self, job_id: str) -> dict[str, Any] | None:
        """Return a job's record; ``None`` if no such job was submitted here, or it ended too long ago.

        ``status`` is ``pending``, ``running``, ``completed`` (with ``result``), ``failed`` or ``cancelled`` (with
        ``error`` and its ``kind``).
        """
        return self._register.record(job_id)

    def wait(self, job_id: str, timeout: float | None = None) -> dict[str, Any]:
        """Wait until a job has ended and return its record.

        Raises:
            NoSuchJob: it is not known (any more).
            TimeoutError: it has not ended after ``timeout`` seconds.
        """
        return self._register.wait(job_id, timeout)

    def cancel(self, job_id: str) -> Cancelled:
        """Cancel a job and say what came of it.

        ``cancelled``: it will not run. ``asked``: it runs, and ends when it looks (``current_job().check()``).
        ``ended``, ``unknown``: there was nothing to cancel.
        """
        return self._register.cancel(job_id)

    @property
    def pending_count(self) -> int:
        """How many jobs wait."""
        return self._register.pending

    @property
    def job_queue(self) -> list[dict[str, Any]]:
        """The records of the jobs that wait, in their order."""
        return self._register.waiting()

    @property
    def completed_jobs(self) -> dict[str, dict[str, Any]]:
        """The records of the ended jobs that are remembered, oldest first."""
        return self._register.ended()

    @property
    def totals(self) -> dict[Status, int]:
        """How many jobs ended so, also those that are forgotten."""
        return self._register.totals()

    # -- in the threads ------------------------------------------------------------------------------------------------

    def _execute(self, hand: Hand, job: Job) -> None:
        if not self._register.begin(job):
            return
        if job.timeout is not None and self._watch is not None:
            self._watch.add(hand, job, job.timeout)
        job.began = time.perf_counter()
        end = self._register.end
        try:
            result = job.run()
        except JobCancelled:
            end(job, "cancelled", error="it ended when it was asked to")
        except BaseException as error:  # noqa: BLE001 - SystemExit ends its job, not the thread that others wait for
            if end(job, "failed", error=text(_said(error), limit=500), kind=type(error).__name__):
                self._tell(job)
        else:
            end(job, "completed", result=result)

    def _late(self, crew: Crew, hand: Hand, job: Job) -> None:
        job.ask_to_end()
        if self._register.end(job, "failed", error=f"it had not ended after {job.timeout:g} s", kind="TimeoutError"):
            crew.lose(hand)
            self._tell(job)

    def _tell(self, job: Job) -> None:
        record = {"id": job.id, **job.record()}
        _log.warning("job failed", job=job.name, id=job.id, error=job.error, kind=job.kind)
        if self._on_failure is not None:
            try:
                self._on_failure(record)
            except Exception:  # noqa: BLE001 - who listens does not decide about the thread
                _log.exception("the listener to failed jobs failed", job=job.name)


def _said(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - a job's own exception may not be able to say anything
        return type(error).__name__


def _nothing() -> None:
    """Nobody listens."""
