"""Recorded events as a file: a line that says which form it has, then a line of JSON for each event.

``{"valhalla_session": 1, ...}``, then ``{"at": 0.25, "event": {CloudEvents 1.0}}``: ``at`` are seconds since the first
event. Data that is neither JSON nor text is base64. Pure, but for reading and writing what it is given.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from valhalla.sdk.errors import ValhallaError

Document = dict[str, Any]
VERSION: Final = 1
MASK: Final = "***"
BATCH: Final = 200

_MAGIC: Final = "valhalla_session"
# what a lane knows of an event, and the event itself does not
_OF_THE_LANE: Final = frozenset({"sequence", "epoch", "mirrored", "stored_at"})
_KNOWN: Final = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data", "data_base64"}
    | {"traceparent", "baggage"}
)


class SessionInvalidError(ValhallaError):
    """The file is no recorded session, or one of a later release; the message names the line."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event of a session: ``at`` seconds after the first, and what it is as a CloudEvent."""

    at: float
    event: Document

    def published(self) -> Document:
        """Return it as the control plane takes it."""
        event = self.event
        body: Document = {
            "source": str(event["source"]).removeprefix("/"),
            "key": event["subject"],
            "type": event["type"],
            "id": event["id"],
        }
        body |= {name: event[name] for name in _KNOWN - {"specversion", "source", "subject"} if name in event}
        extensions = {name: value for name, value in event.items() if name not in _KNOWN}
        return body | ({"extensions": extensions} if extensions else {})


@dataclass(slots=True)
class Recorder:
    """Makes lines of a lane's events. ``redact`` names members of their data whose values are not written."""

    redact: frozenset[str] = frozenset()
    count: int = 0
    _first: datetime | None = None

    def head(self, **more: Any) -> str:
        """Return the first line."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return _line({_MAGIC: VERSION, "recorded_at": now, **more})

    def line(self, event: Mapping[str, Any]) -> str:
        """Return the line of an event as a lane shows it."""
        at = datetime.fromisoformat(str(event.get("stored_at") or datetime.now(UTC).isoformat()))
        self._first = self._first or at
        self.count += 1
        kept = {name: value for name, value in event.items() if name not in _OF_THE_LANE}
        if self.redact:
            kept = cast("Document", _redacted(kept, self.redact))
        return _line({"at": max(0.0, round((at - self._first).total_seconds(), 6)), "event": kept})


@dataclass(slots=True)
class Playback:
    """Where one replay of a session is. ``speed`` 2 is twice as fast as it was, 0 as fast as can be."""

    speed: float = 1.0
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    sent: int = 0

    def batches(self, session: Iterable[Recorded]) -> Iterator[tuple[float, Document]]:
        """Yield when to send, in seconds from the start, and what; what is due within 5 ms goes together."""
        pending: list[Recorded] = []
        for one in session:
            if pending and (len(pending) == BATCH or self._due(one) - self._due(pending[0]) > 0.005):
                yield self._due(pending[0]), self._body(pending)
                pending = []
            pending.append(one)
        if pending:
            yield self._due(pending[0]), self._body(pending)

    def _due(self, one: Recorded) -> float:
        return one.at / self.speed if self.speed else 0.0

    def _body(self, pending: list[Recorded]) -> Document:
        first, self.sent = self.sent, self.sent + len(pending)
        return {"run": self.run, "first": first, "events": [one.published() for one in pending]}


def read_session(lines: Iterable[str]) -> Iterator[Recorded]:
    """Read the lines of a session.

    Raises:
        SessionInvalidError: they are none.
    """
    numbered = enumerate(lines, 1)
    head = _parsed(next(numbered, (1, ""))[1], 1)
    if head.get(_MAGIC) != VERSION:
        raise SessionInvalidError(
            f"this is no session of recorded events, or one of a later release: line 1 has no '{_MAGIC}': {VERSION}"
        )
    for number, line in numbered:
        if not line.strip():
            continue
        found = _parsed(line, number)
        at, event = found.get("at"), found.get("event")
        if not isinstance(at, (int, float)) or not at >= 0 or not isinstance(event, dict):
            raise SessionInvalidError(f"line {number} of the session has no 'at' in seconds, or no 'event'")
        document = cast("Document", event)
        if absent := {"id", "source", "type", "subject"} - document.keys():
            raise SessionInvalidError(f"the event in line {number} of the session has no {', '.join(sorted(absent))}")
        yield Recorded(float(at), document)


def open_session(session: str | Path | Iterable[str]) -> list[Recorded]:
    """Read a session from a file's path or from its lines, whole: nothing of one that is broken is played.

    Raises:
        SessionInvalidError: it is none.
        OSError: the file cannot be read.
    """
    if isinstance(session, (str, Path)):
        with Path(session).open(encoding="utf-8") as file:
            return list(read_session(file))
    return list(read_session(session))


def _parsed(line: str, number: int) -> Document:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SessionInvalidError(f"line {number} of the session is no JSON object: {error}") from error


def _redacted(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value)
        return {name: MASK if name.lower() in names else _redacted(inner, names) for name, inner in members.items()}
    if isinstance(value, list):
        return [_redacted(inner, names) for inner in cast("list[Any]", value)]
    return value


def _line(document: Document) -> str:
    return msgspec.json.encode(document).decode() + "\n"
