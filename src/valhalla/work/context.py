"""What a running job is told about itself, and what it can tell."""

from __future__ import annotations

import threading
from typing import Any


class JobCancelled(BaseException):
    """Raised inside a job by ``JobContext.check``; not an ``Exception``, so that no broad ``except`` swallows it."""


class JobContext:
    """Handed to a job's function; safe to use from its thread."""

    def __init__(self, *, id: str, name: str, attempt: int, correlation_id: str | None) -> None:  # noqa: A002
        """``attempt`` counts from 1."""
        self.id = id
        self.name = name
        self.attempt = attempt
        self.correlation_id = correlation_id
        self._stop = threading.Event()
        self._progress: dict[str, Any] | None = None
        self._unseen = False

    @property
    def idempotency_key(self) -> str:
        """The same in every attempt: pass it on, so that an attempt after a crash repeats no effect."""
        return f"job:{self.id}"

    @property
    def cancelled(self) -> bool:
        """Whether the function should end now: the job was cancelled, ran out of time, or its worker stops."""
        return self._stop.is_set()

    def check(self) -> None:
        """End here if the function should end.

        Raises:
            JobCancelled: it should.
        """
        if self._stop.is_set():
            raise JobCancelled

    def progress(self, fraction: float | None = None, note: str | None = None, **fields: Any) -> None:
        """Say how far it is; costs nothing here, and is stored within a second. ``fields`` must have a JSON form."""
        self._progress = {"fraction": fraction, "note": note, **fields}
        self._unseen = True

    def cancel(self) -> None:
        """Ask the function to end."""
        self._stop.set()

    def last_progress(self) -> dict[str, Any] | None:
        """Return what was told last."""
        return self._progress

    def news(self) -> dict[str, Any] | None:
        """Return what was told last unless it was returned before."""
        if not self._unseen:
            return None
        self._unseen = False
        return self._progress
