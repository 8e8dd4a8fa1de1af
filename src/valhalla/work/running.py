"""Call a job's function once: a sync one in a thread, an async one on the loop; nothing it does gets out."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any, Final, Literal

import msgspec

from valhalla.kit.log import correlated, get_logger
from valhalla.kit.spans import Roots, rooted
from valhalla.work.context import JobCancelled, JobContext
from valhalla.work.contracts import Ended, Job
from valhalla.work.errors import BadArguments
from valhalla.work.registry import Definition
from valhalla.work.rules import after_failure
from valhalla.work.threads import Threads
from valhalla.work.values import UnstorableError, failure, plain

_log = get_logger("work")
_POLITE: Final = 2.0
Why = Literal["cancelled", "stopping"]


class Attempt:
    """One call of a job's function."""

    def __init__(self, job: Job, definition: Definition, threads: Threads, roots: Roots | None = None) -> None:
        self.job = job
        self._roots = roots
        self._threads = threads
        self._definition = definition
        self.context = JobContext(id=job.id, name=job.name, attempt=job.attempts + 1, correlation_id=job.correlation_id)
        self.over = False
        self._call: asyncio.Future[Any] | None = None
        self._why: Why | None = None

    def unbegun(self) -> Ended:
        """Say how it ended without having been called: back into line, or cancelled."""
        if self._why == "cancelled":
            effect = "none" if self.job.attempts == self.job.crashes == 0 else "unknown"
            return self._ended("cancelled", effect=effect)
        return self._ended("queued")

    def end(self, why: Why) -> None:
        """Ask the function to end: an async one is interrupted, a sync one sees it in its context."""
        if self._why is None:
            self._why = why
            self._interrupt()

    def _interrupt(self) -> None:
        self.context.cancel()
        if isinstance(self._call, asyncio.Task):
            self._call.cancel()

    async def run(self) -> Ended | None:
        """Call it and say how it ended; ``None``: it goes on although it was asked to end, so nothing can be said."""
        if self._why is not None:
            return self.unbegun()
        job = self.job
        about: dict[str, Any] = {"job.id": job.id, "job.queue": job.queue, "job.attempt": self.context.attempt}
        with (
            correlated(job.correlation_id),
            rooted(self._roots, f"job {job.name}", job.traceparent, **about) as span,
        ):
            ended = await self._called()
            span.failed = ended is None or ended.failed
            return ended

    async def _called(self) -> Ended | None:
        try:
            args = self._definition.arguments(self.job.args)
        except BadArguments as problem:
            return self._failed({"code": problem.code, "detail": problem.detail}, final=True)
        if self._definition.context is not None:
            args[self._definition.context] = self.context
        if self._definition.is_async:
            self._call = asyncio.create_task(self._on_loop(args))
        else:
            self._call = self._threads.run(lambda: self._definition.call(**args), self.job.name)
        done, _ = await asyncio.wait({self._call}, timeout=self.job.timeout)
        if not done:
            return await self._out_of_time(self._call)
        return self._outcome(self._call)

    async def _on_loop(self, args: dict[str, Any]) -> Any:
        # a task would carry SystemExit and KeyboardInterrupt out into the loop, and end the worker
        try:
            return await self._definition.call(**args)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _EndedProcessError(f"the job raised {type(error).__name__}") from error

    async def _out_of_time(self, call: asyncio.Future[Any]) -> Ended | None:
        self._interrupt()
        await asyncio.wait({call}, timeout=_POLITE)
        error = {"code": "job-timeout", "detail": f"it did not end within {self.job.timeout:g} s"}
        if call.done():
            with contextlib.suppress(BaseException):
                call.exception()  # what it raised when it was interrupted says nothing
            return self._failed(error)
        # a further attempt would run beside this one, which nobody can stop
        return self._failed({**error, "still_running": "the function did not end when it was asked to"}, final=True)

    def _outcome(self, call: asyncio.Future[Any]) -> Ended:
        error: BaseException | None = asyncio.CancelledError() if call.cancelled() else call.exception()
        if error is None:
            return self._succeeded(call.result())
        if isinstance(error, (asyncio.CancelledError, JobCancelled)):
            if self._why == "stopping":
                return self._ended("queued")
            if self._why == "cancelled":
                return self._ended("cancelled", effect="unknown")
        _log.warning("a job failed", job=self.job.id, name=self.job.name, error=f"{type(error).__name__}: {error}")
        return self._failed(failure(error))

    def _succeeded(self, value: object) -> Ended:
        try:
            return self._ended("succeeded", result=plain(value))
        except UnstorableError as error:
            # its work is done: to do it again would not make the value better
            return self._failed({"code": "result-not-storable", "detail": str(error)}, final=True)

    def _failed(self, error: dict[str, str], *, final: bool = False) -> Ended:
        spread = random.random()  # noqa: S311 - spreads retries, guards nothing
        ended = after_failure(self.job, self._definition.retry, error, spread, final=final)
        return self._with_progress(ended)

    def _ended(self, status: Any, **fields: Any) -> Ended:
        return self._with_progress(Ended(id=self.job.id, generation=self.job.generation, status=status, **fields))

    def _with_progress(self, ended: Ended) -> Ended:
        return msgspec.structs.replace(ended, progress=told(self.context.last_progress()))


def told(progress: dict[str, Any] | None) -> Any:
    """Return progress as it can be stored, or nothing."""
    try:
        return None if progress is None else plain(progress)
    except UnstorableError:
        return {"note": "what the job told about its progress has no JSON form"}


class _EndedProcessError(Exception):
    """A job asked the interpreter to exit; only the job ends."""
