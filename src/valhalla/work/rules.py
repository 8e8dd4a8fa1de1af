"""Decisions about jobs: pure, no clock, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from valhalla.work.contracts import Ended, Job, Retry

SUSPECT: Final = 2
"""A job that saw this many workers die is run with no other such job beside it, so that the guilty one is found."""


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


def before_start(job: Job, retry: Retry | None) -> Ended | None:
    """Say why a job that was just taken must not run; ``retry`` is ``None`` when its name is unknown here."""
    if job.cancel_requested_at is not None:
        # it was asked for while a worker ran it that has died since
        return Ended(id=job.id, generation=job.generation, status="cancelled", effect="unknown")
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
