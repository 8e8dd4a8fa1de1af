"""The sessions of the gateway: what each was sent, so that one that comes back is sent what it missed."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from valhalla.testing.discord import intents
from valhalla.testing.discord.documents import Doc


class Wire(Protocol):
    """A connection as its session sees it."""

    def write(self, frame: bytes) -> None:
        """Send one frame, in order."""
        ...


class Session:
    """One identified shard. ``kept`` events at most can be sent again."""

    def __init__(self, shard: tuple[int, int], wanted: int, kept: int) -> None:
        self.id = secrets.token_hex(16)
        self.shard = shard
        self.intents = wanted
        self.sequence = 0
        self.wire: Wire | None = None
        self.resumed = 0
        self._history: deque[tuple[int, bytes]] = deque(maxlen=kept)

    def sees(self, guild_id: str | None) -> bool:
        """Say whether events of this guild are this shard's; those of none are the first's."""
        number, of = self.shard
        return number == (0 if guild_id is None else (int(guild_id) >> 22) % of)

    def dispatch(self, event: str, data: Any) -> int:
        """Number an event, keep it and send it if somebody listens; returns its number."""
        self.sequence += 1
        frame = msgspec.json.encode({"t": event, "s": self.sequence, "op": 0, "d": data})
        self._history.append((self.sequence, frame))
        if self.wire is not None:
            self.wire.write(frame)
        return self.sequence

    def missed(self, sequence: int) -> list[bytes] | None:
        """Return what came after a number; None if not all of it is kept."""
        if self._history and self._history[0][0] > sequence + 1:
            return None
        return [frame for number, frame in self._history if number > sequence]


class Sessions:
    """All sessions. ``kept`` events of each can be sent again."""

    def __init__(self, me: Callable[[], str], kept: int = 10_000) -> None:
        self.kept = kept
        self._me = me
        self._by_id: dict[str, Session] = {}

    def __iter__(self) -> Any:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def open(self, shard: tuple[int, int], wanted: int) -> Session:
        """Begin a session."""
        made = Session(shard, wanted, self.kept)
        self._by_id[made.id] = made
        return made

    def find(self, session_id: str) -> Session | None:
        """Return the session, if it can still be resumed."""
        return self._by_id.get(session_id)

    def end(self, session: Session) -> None:
        """Forget a session: it cannot be resumed."""
        self._by_id.pop(session.id, None)

    def dispatch(self, event: str, data: Doc, guild_id: str | None) -> int:
        """Tell every session that it concerns of an event; returns how many there were."""
        told = 0
        for session in self._by_id.values():
            if session.sees(guild_id):
                shown = intents.seen(event, data, session.intents, self._me())
                if shown is not None:
                    session.dispatch(event, shown)
                    told += 1
        return told
