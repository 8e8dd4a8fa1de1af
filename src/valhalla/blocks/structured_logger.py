"""``StructuredLogger``: actions as JSON lines under the correlation id of what is being served."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast, get_args

from valhalla.kernel.clock import isoformat
from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Invalid
from valhalla.kit.correlation import adopted, correlate, correlated, correlation_id
from valhalla.kit.json import dumps_text
from valhalla.kit.log import get_logger
from valhalla.kit.redact import redact, text

Level = Literal["debug", "info", "warning", "error", "critical"]
_LEVELS: Final = frozenset(get_args(Level))
_OURS: Final = frozenset({"timestamp", "action", "correlation_id", "level", "logger", "event", "exc_info", "exception"})
UNKNOWN: Final = "unknown"


class StructuredLogger:
    """Writes one line per action. The id is that of this thread or task, and the same in every logger.

    Jobs, tasks and ``asyncio.to_thread`` carry it along; a bare thread does with ``contextvars.copy_context().run``.
    """

    def __init__(self, logger_instance: logging.Logger | None = None, *, name: str = "actions") -> None:
        """Lines go where those of Valhalla go (stderr), or through a logger of the standard library."""
        self._logger = logger_instance
        self._lines = get_logger(name)

    def set_correlation_id(self, correlation_id: str | None = None) -> str:
        """Put what follows in this thread or task under an id, a fresh one if it is missing or has no proper form.

        Return the id: 1 to 128 letters, digits and ``._:@/+=-``, so that nobody can write lines of their own with it.
        """
        value = adopted(correlation_id)
        correlate(value)
        return value

    def get_correlation_id(self) -> str:
        """Return the id of what is being served; ``unknown`` without one."""
        return correlation_id() or UNKNOWN

    @contextmanager
    def correlated(self, correlation_id: str | None = None) -> Generator[str]:
        """Put a block under an id, and have the one of before again behind it."""
        value = adopted(correlation_id)
        with correlated(value):
            yield value

    def log_action(self, name: str, /, level: str = "info", **fields: Any) -> dict[str, Any]:
        """Write a line, and return what it says: ``timestamp``, ``action``, ``correlation_id`` and the fields.

        Secrets are taken out. A field called like one of ours is written as ``field_…``.

        Raises:
            Invalid: the level is none of debug, info, warning, error and critical.
        """
        if level not in _LEVELS:
            raise Invalid(f"{str(level)[:50]!r} is no level: it is one of debug, info, warning, error and critical")
        own = {_own(key, fields): value for key, value in cast("dict[str, Any]", redact(fields)).items()}
        line = {
            "timestamp": isoformat(datetime.now(UTC)),
            "action": text(str(name), limit=200),
            "correlation_id": self.get_correlation_id(),
            **own,
        }
        if self._logger is not None:
            self._logger.log(getattr(logging, level.upper()), "%s", dumps_text({"level": level, **line}))
        else:
            write = getattr(self._lines, "error" if level == "critical" else level)
            write(line["action"], **own)
        return line

    def log_request(
        self, endpoint: str, method: str = "GET", user_id: str | None = None, *, correlation_id: str | None = None
    ) -> str:
        """Begin a request under the id that came with it, or else a fresh one; note it and return the id."""
        value = self.set_correlation_id(correlation_id or new_id())
        self.log_action("request_received", endpoint=endpoint, method=method, user_id=user_id or "anonymous")
        return value


def _own(key: str, fields: Mapping[str, Any]) -> str:
    while key in _OURS:
        key = f"field_{key}"
        # "action" and "field_action" may both be given
        while key in fields:
            key = f"field_{key}"
    return key
