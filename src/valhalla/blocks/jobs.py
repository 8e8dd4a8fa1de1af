"""One job of a ``WorkerProcess``: what runs, and what is remembered of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal

from valhalla.kernel.clock import isoformat
from valhalla.kit.log import correlation_id
from valhalla.work.context import JobContext

Status = Literal["pending", "running", "completed", "failed", "cancelled"]
DONE: Final = frozenset({"completed", "failed", "cancelled"})


class Call(JobContext):
    """What a running job is told, and can tell. Each sign of life that it gives is one of its worker too."""

    def __init__(self, job: Job, beat: Callable[[], object]) -> None:
        super().__init__(id=job.id, name=job.name, attempt=1, correlation_id=correlation_id())
        self._beat = beat

    def check(self) -> None:
        """End here if the job should end.

        Raises:
            JobCancelled: it should.
        """
        self._beat()
        super().check()

    def progress(self, fraction: float | None = None, note: str | None = None, **fields: Any) -> None:
        """Say how far it is: the job's record shows it."""
        self._beat()
        super().progress(fraction, note, **fields)


class Job:
    """A call that waits, runs, or has ended. Its worker's lock guards every change of ``status``."""

    __slots__ = (
        "args", "asked_to_end", "at", "beat", "began", "call", "context", "done", "error", "func", "id", "kind",
        "kwargs", "name", "result", "seconds", "status", "timeout",
    )  # fmt: skip

    def __init__(
        self,
        id_: str,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        context: Context,
        timeout: float | None,
        beat: Callable[[], object],
        at: float,
    ) -> None:
        """``at`` is the instant of the last change, in seconds since the epoch; ``timeout`` is in seconds."""
        self.id, self.name, self.at, self.timeout, self.beat = id_, name, at, timeout, beat
        self.status: Status = "pending"
        self.func: Callable[..., Any] | None = func
        self.args: tuple[Any, ...] = args
        self.kwargs: Mapping[str, Any] = kwargs
        self.context: Context | None = context
        self.call: Call | None = None
        self.asked_to_end = False
        self.began = self.seconds = 0.0
        self.result: Any = None
        self.error: str | None = None
        self.kind: str | None = None
        self.done: threading.Event | None = None

    def run(self) -> Any:
        """Call the function in the context that the job was submitted in."""
        assert self.context is not None
        assert self.func is not None
        self.context.run(_CURRENT.set, self)
        return self.context.run(self.func, *self.args, **self.kwargs)

    def ask_to_end(self) -> None:
        """Tell the function, if it looks, that it should end."""
        self.asked_to_end = True
        if self.call is not None:
            self.call.cancel()

    def speak(self) -> Call:
        """Return what the function asks and tells; most never do, so it is made when one does."""
        if self.call is None:
            self.call = Call(self, self.beat)
            # who asked it to end just now has not seen the call
            if self.asked_to_end:
                self.call.cancel()
        return self.call

    def forget(self) -> None:
        """Let go of what only a job needs that has not ended."""
        self.func = self.context = None
        self.args, self.kwargs = (), {}

    def record(self) -> dict[str, Any]:
        """Return what is known about it now."""
        record: dict[str, Any] = {
            "name": self.name,
            "status": self.status,
            "timestamp": isoformat(datetime.fromtimestamp(self.at, UTC)),
        }
        if self.status == "completed":
            record["result"] = self.result
        elif self.status in DONE:
            record |= {"error": self.error, "kind": self.kind}
        if self.status in DONE:
            record["seconds"] = self.seconds
        progress = None if self.call is None else self.call.last_progress()
        if progress is not None:
            record["progress"] = progress
        return record


_CURRENT: Final[ContextVar[Job | None]] = ContextVar("valhalla_worker_job", default=None)


def current_job() -> Call | None:
    """Return what the job that runs here can ask and tell; ``None`` outside of one.

    >>> for done, row in enumerate(rows):
    ...     export(row)
    ...     current_job().check()  # ends here when the job is cancelled
    ...     current_job().progress(done / len(rows))
    """
    job = _CURRENT.get()
    return None if job is None else job.speak()
