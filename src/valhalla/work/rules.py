"""Decisions about jobs: pure, no clock, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from valhalla.work.contracts import Ended, Job, Retry

SUSPECT: Final = 2
"""A job that saw this many workers die is run with no other such job beside it, so that the guilty one is found."""


_OTHERS: Final = 0.3


class Tides:
    """Tells whether the database's clock can be trusted about who is silent: after a leap forward nobody is, yet.

    Everyone who lives says so within a moment by the new clock. ``look`` takes both clocks in seconds.
    """

    def __init__(self, patience: float) -> None:
        """For ``patience`` seconds after a leap, and after the beginning, silence says nothing."""
        self._patience = patience
        self._offset: float | None = None
        self._calm_at: float | None = None

    def look(self, database: float, monotonic: float, *, most: float) -> bool:
        """Say whether silence means death now; a leap is more than ``most`` seconds."""
        offset = database - monotonic
        before, self._offset = self._offset, offset
        if before is None or offset - before > most:
            self._calm_at = monotonic + self._patience
        return self._calm_at is None or monotonic >= self._calm_at


def retry_pause(retry: Retry, attempt: int, spread: float) -> float:
    """Return the seconds to wait after failed attempt ``attempt`` (from 1); ``spread`` is a draw from [0, 1)."""
    pause = min(retry.cap, retry.base * 2.0 ** min(attempt - 1, 64))
    return pause * (0.5 + spread / 2)


def after_failure(job: Job, retry: Retry, error: Mapping[str, Any], spread: float, *, final: bool = False) -> Ended:
    """Say what becomes of ``job``, whose function has just failed; ``final`` refuses another attempt."""
    attempt = job.attempts + 1
    if final or attempt >= retry.attempts:
        return Ended(id=job.id, generation=job.generation, status="dead", error=error, effect="unknown", failed=True)
    return Ended(
        id=job.id,
        generation=job.generation,
        status="queued",
        error=error,
        failed=True,
        delay=retry_pause(retry, attempt, spread),
    )


def before_start(job: Job, retry: Retry | None, *, known_elsewhere: bool = False) -> Ended | None:
    """Say why a job that was just taken must not run; ``retry`` is ``None`` when its name is unknown here.

    One that a live worker knows waits for that one: the seats of a limited queue are shared by programs.
    """
    if job.cancel_requested_at is not None:
        # it was asked for while a worker ran it that has died since
        return Ended(id=job.id, generation=job.generation, status="cancelled", effect="unknown")
    if retry is None and known_elsewhere:
        return Ended(id=job.id, generation=job.generation, status="queued", delay=_OTHERS)
    if retry is None:
        return Ended(
            id=job.id,
            generation=job.generation,
            status="held",
            error={"code": "unknown-job", "detail": f"no worker knows the job {job.name!r}"},
        )
    if job.crashes >= retry.crashes:
        detail = f"{job.crashes} workers died while they ran it"
        return Ended(
            id=job.id,
            generation=job.generation,
            status="dead",
            error={"code": "poison-job", "detail": detail},
            effect="unknown",
        )
    return None
