"""What libraries write to ``logging`` becomes lines of ours: redacted, and no flood while a server is away.

Only a process that is ours captures; a program that embeds Valhalla keeps its own logging.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from valhalla.kit.log import Level, get_logger

_LEVELS: Final[dict[Level, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
# modules whose errors mean that a server is away, or that its connection broke: known, handled, and many at once
_DRIVERS: Final = ("asyncpg", "psycopg", "redis", "nats", "sqlalchemy")
_PAUSE: Final = 10.0
_MOST: Final = 1000
_QUIET: Final[dict[str, Level]] = {
    "httpx": "warning",
    "httpcore": "warning",
    "alembic": "warning",
    "asyncio": "warning",
}


def capture(level: Level = "info") -> None:
    """Send everything that is logged in this process through our pipeline, from ``level`` on."""
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, LibraryHandler)]:
        root.removeHandler(handler)
    root.addHandler(LibraryHandler())
    root.setLevel(_LEVELS[level])
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(_LEVELS[least], _LEVELS[level]))


class LibraryHandler(logging.Handler):
    """Writes a record as a line. One that repeats is written every ten seconds, with how many were left out."""

    def __init__(self, *, pause: float = _PAUSE, monotonic: Callable[[], float] = time.monotonic) -> None:
        """``pause`` in seconds between two lines of the same logger and template that tell of an absent server."""
        super().__init__()
        self._pause = pause
        self._now = monotonic
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        self._guard = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; never raises."""
        try:
            self._write(record)
        except Exception:  # noqa: BLE001 - a log call never raises; logging prints it if it was asked to
            self.handleError(record)

    def _write(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and is_known(error):
            left_out = self._left_out(record)
            if left_out is None:
                return
            # where it was raised is in a driver, and says nothing about us
            fields["error"] = f"{type(error).__name__}: {error}"
            if left_out:
                fields["left_out"] = left_out
        elif error is not None:
            fields["exc_info"] = error
        log = get_logger(record.name)
        message = record.getMessage()
        if record.levelno >= logging.ERROR:
            log.error(message, **fields)
        elif record.levelno >= logging.WARNING:
            log.warning(message, **fields)
        elif record.levelno >= logging.INFO:
            log.info(message, **fields)
        else:
            log.debug(message, **fields)

    def _left_out(self, record: logging.LogRecord) -> int | None:
        """Return how many like it were left out since the last line, or None if this one is as well."""
        now, key = self._now(), (record.name, str(record.msg)[:200])
        with self._guard:
            at, left_out = self._told.get(key, (float("-inf"), 0))
            if now - at < self._pause:
                self._told[key] = (at, left_out + 1)
                return None
            if len(self._told) >= _MOST:
                self._told.clear()
            self._told[key] = (now, 0)
        return left_out


def is_known(error: BaseException) -> bool:
    """Say whether an error, or what caused it, is a driver's or the network's: its traceback says nothing."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) or type(seen).__module__.partition(".")[0] in _DRIVERS:
            return True
        seen = seen.__cause__
    return False
