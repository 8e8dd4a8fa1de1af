"""A worker's sign of life, from a thread of its own: a job that blocks the event loop must not look like a death."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.work.running import Attempt, told
from valhalla.work.turn import keep

_log = get_logger("work")
_JOIN: Final = 5.0


class Pulse:
    """Beats for the attempts of a worker while there are any, stores their progress, hears who should end."""

    def __init__(
        self,
        db: Database,
        worker: UUID,
        running: Callable[[], list[Attempt]],
        should_end: Callable[[list[str]], None],
        *,
        written: Callable[[], int],
        every: float,
    ) -> None:
        """``should_end`` is called in the pulse's thread; ``written`` counts outcomes; ``every`` in seconds."""
        self._db = db
        self._worker = worker
        self._running = running
        self._should_end = should_end
        self._written = written
        self._told: tuple[int, frozenset[str]] = (0, frozenset())
        self._every = every
        self._stop = threading.Event()
        # a thread inherits nothing: what the worker may write, its pulse may
        beat = contextvars.copy_context().run
        self._thread = threading.Thread(target=beat, args=(self._beat,), name="work-pulse", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more; what the worker then still holds goes to others."""
        self._stop.set()

    def _beat(self) -> None:
        while not self._stop.wait(self._every):
            attempts = self._running()
            ids = [attempt.job.id for attempt in attempts]
            now = self._written(), frozenset(ids)
            if attempts or now != self._told:
                try:
                    news = _news(attempts)
                    # who looks hears at most once a beat that there is more to see, however many begin and end in it
                    changed = bool(news) or now != self._told
                    if ended := self._db.run_blocking(keep, self._worker, ids, news, tell=changed):
                        self._should_end(ended)
                    self._told = now
                except Unavailable as problem:
                    _log.warning("the worker's sign of life waits for the database", error=problem.detail)
                except Exception:  # noqa: BLE001 - a worker without its pulse would lose every job
                    _log.exception("the worker's sign of life failed")


def _news(attempts: list[Attempt]) -> list[dict[str, Any]]:
    return [
        {"id": attempt.job.id, "generation": attempt.job.generation, "progress": told(progress)}
        for attempt in attempts
        if (progress := attempt.context.news()) is not None
    ]
