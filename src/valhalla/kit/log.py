"""Application events as JSON lines, or for a person when stderr is a terminal.

The pipeline is our own and not structlog's global one, so that a program that embeds Valhalla keeps its configuration.
structlog is imported at the first line that is written: 50 ms that a short command does not pay.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, cast

from valhalla.kernel.clock import isoformat
from valhalla.kit import trace
from valhalla.kit.correlation import correlated, correlation_id
from valhalla.kit.json import dumps
from valhalla.kit.redact import redact, text

if TYPE_CHECKING:
    from types import ModuleType

Level = Literal["debug", "info", "warning", "error", "critical"]
_LEVELS: Final[Mapping[Level, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_RESERVED: Final = frozenset(
    {"timestamp", "level", "logger", "event", "correlation_id", "trace_id", "span_id", "exception", "exc_info"}
)
_PARAMETERS: Final = frozenset({"self", "event", "method_name", "exception"})
_TRACEBACK: Final = 16_384

Tap = Callable[[Mapping[str, Any]], None]
"""Told of every line, redacted, as it is written; keeps no reference to it, neither waits nor raises."""

__all__ = ["Level", "Logger", "Tap", "configure", "correlated", "correlation_id", "get_logger", "tap", "untap"]


class Logger:
    """Writes events with fields; one per module, cheap to make."""

    __slots__ = ("_bound", "_generation", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._generation = -1
        self._bound: Any = None

    def _log(self) -> Any:
        if self._generation != _pipeline.generation:
            self._bound = _pipeline.bind(self._name)
            self._generation = _pipeline.generation
        return self._bound

    def debug(self, event: str, /, **fields: object) -> None:
        """Say what only a developer of this code wants to know."""
        if _pipeline.level <= 10:
            self._log().debug(event, **_passable(fields))

    def info(self, event: str, /, **fields: object) -> None:
        """Say that something expected happened."""
        if _pipeline.level <= 20:
            self._log().info(event, **_passable(fields))

    def warning(self, event: str, /, **fields: object) -> None:
        """Say that something is wrong and is being handled."""
        if _pipeline.level <= 30:
            self._log().warning(event, **_passable(fields))

    def error(self, event: str, /, **fields: object) -> None:
        """Say that something failed."""
        self._log().error(event, **_passable(fields))

    def exception(self, event: str, /, **fields: object) -> None:
        """Say that something failed, with the traceback of the exception being handled."""
        self._log().error(event, **_passable({"exc_info": True, **fields}))


def _passable(fields: dict[str, object]) -> dict[str, object]:
    """Return fields that structlog's own parameters leave alone: a log call never raises."""
    for name in _PARAMETERS & fields.keys():
        value, own = fields.pop(name), f"field_{name}"
        while own in fields:
            own = f"field_{own}"
        fields[own] = value
    return fields


def get_logger(name: str) -> Logger:
    """Return the logger called ``name`` (``area.part``)."""
    return Logger(name)


def configure(
    *,
    level: Level = "info",
    file: Path | None = None,
    human: bool | None = None,
    secret_names: Iterable[str] = (),
) -> None:
    """Say where lines go from now on, in the whole process.

    ``file`` is appended to instead of stderr; ``human`` (default: stderr is a terminal) chooses coloured text.
    What libraries log comes too once ``kit.liblog.capture`` was called.
    """
    _pipeline.change(_LEVELS[level], file, human, tuple(secret_names))


def tap(listener: Tap) -> None:
    """Tell ``listener`` of every line of this process from now on."""
    _pipeline.taps = (*_pipeline.taps, listener)


def untap(listener: Tap) -> None:
    """Tell it no more; harmless if it was not told."""
    _pipeline.taps = tuple(one for one in _pipeline.taps if one != listener)


class _Pipeline:
    """Where the lines of this process go; the only thing here that is shared."""

    def __init__(self) -> None:
        self.level = 20
        self.generation = 0
        self.taps: tuple[Tap, ...] = ()
        self._path: Path | None = None
        self._human: bool | None = None
        self._names: tuple[str, ...] = ()
        self._output: IO[bytes] | None = None

    def change(self, level: int, path: Path | None, human: bool | None, names: tuple[str, ...]) -> None:
        # the file of before stays open: another thread may be about to write its last line to it
        self.level, self._path, self._human, self._names = level, path, human, names
        self._output = None
        self.generation += 1

    def bind(self, name: str) -> Any:
        human = self._path is None and (sys.stderr.isatty() if self._human is None else self._human)
        structlog = _import_structlog(human=human)
        chain: list[Any] = [structlog.processors.format_exc_info, self._members(name)]
        if human:
            chain.append(structlog.dev.ConsoleRenderer(timestamp_key="timestamp", colors=sys.stderr.isatty()))
            sink: Any = structlog.PrintLogger(sys.stderr)
        else:
            chain.append(_encode)
            sink = structlog.BytesLogger(self._sink())
        return structlog.wrap_logger(
            sink,
            processors=chain,
            wrapper_class=structlog.make_filtering_bound_logger(self.level),
            context_class=dict,
            cache_logger_on_first_use=True,
        )

    def _sink(self) -> IO[bytes]:
        if self._output is None:
            # unbuffered: a line is one write(2), so that several processes can append to one file
            self._output = (
                self._path.open("ab", buffering=0) if self._path is not None else cast("IO[bytes]", sys.stderr.buffer)
            )
        return self._output

    def _members(self, name: str) -> Any:
        def process(_logger: Any, method: str, fields: MutableMapping[str, Any]) -> dict[str, Any]:
            event = fields.pop("event", "")
            traceback = fields.pop("exception", None)
            members: dict[str, Any] = {
                "timestamp": isoformat(datetime.now(UTC)),
                "level": method,
                "event": text(str(event)),
                "logger": name,
            }
            if (current := correlation_id()) is not None:
                members["correlation_id"] = current
            if (span := trace.current()) is not None:
                members["trace_id"], members["span_id"] = span.trace_id, span.span_id
            for key, value in redact(fields, names=self._names).items():
                members[_own(key, members)] = value
            if traceback is not None:
                members["exception"] = text(str(traceback), limit=_TRACEBACK)
            for listener in self.taps:
                listener(members)
            return members

        return process


def _own(key: str, members: Mapping[str, Any]) -> str:
    """Return the name that a caller's field gets: never one of ours, never one that is taken."""
    while key in _RESERVED or key in members:
        key = f"field_{key}"
    return key


def _encode(_logger: Any, _method: str, members: dict[str, Any]) -> bytes:
    return dumps(members)


_pipeline = _Pipeline()


def _import_structlog(*, human: bool) -> ModuleType:
    # structlog.dev pulls in rich and pygments (two thirds of the import) although only a terminal shows them;
    # a None entry makes their import fail, which structlog handles
    blocked = not human and "structlog" not in sys.modules and "rich" not in sys.modules
    if blocked:
        sys.modules["rich"] = cast("ModuleType", None)
    try:
        import structlog
    finally:
        if blocked:
            sys.modules.pop("rich", None)
    return structlog
