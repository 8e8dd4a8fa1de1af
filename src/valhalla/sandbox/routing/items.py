"""One event on its way into the stream, and what its poster is told of it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from valhalla.sandbox.routing import envelope
from valhalla.sandbox.routing.contracts import Event


class Stored(NamedTuple):
    """Where an event is; ``duplicate``: it was there already, in whichever lane; ``sandbox`` is None for production."""

    sequence: int
    duplicate: bool
    sandbox: str | None


class Answer(Protocol):
    """Who is told what became of an event: a future, or something lighter."""

    def done(self) -> bool:
        """Say whether nobody waits for it any more."""
        ...

    def set_result(self, result: Stored, /) -> None:
        """It is stored."""
        ...

    def set_exception(self, exception: Exception, /) -> None:
        """It is not, and will not be."""
        ...


class Item:
    """One message. ``copy`` is the sandbox that it is a mirror's copy for."""

    __slots__ = ("copy", "data", "future", "key", "msg_id", "sandbox", "source", "standing", "tail")

    def __init__(self, event: Event, tail: str, future: Answer | None) -> None:
        self.source = event.source
        self.key = event.key
        self.tail = tail
        self.msg_id = envelope.message_id(event)
        self.standing = envelope.standing_headers(event)
        self.data = event.data
        self.future = future
        self.copy: str | None = None
        self.sandbox: str | None = None

    def copied(self, sandbox: str) -> Item:
        """Return the copy for a mirror."""
        other = object.__new__(Item)
        other.source, other.key, other.tail = self.source, self.key, self.tail
        other.standing, other.data, other.future = self.standing, self.data, None
        other.msg_id, other.copy, other.sandbox = f"{self.msg_id}+{sandbox}", sandbox, None
        return other
