"""Up to which event a session is stored without a gap: from there another process could resume it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from valhalla.kernel.problems import Unavailable

if TYPE_CHECKING:
    from valhalla.sandbox.routing.items import Stored


class Mark:
    """One event on its way; the ingress tells it what became of it, as it would tell a future."""

    __slots__ = ("_marks", "is_settled", "sequence")

    def __init__(self, marks: Marks, sequence: int) -> None:
        self._marks = marks
        self.sequence = sequence
        self.is_settled = False

    def done(self) -> bool:
        """It always wants to be told."""
        return False

    def set_result(self, result: Stored, /) -> None:
        """It is stored."""
        del result
        self.is_settled = True
        self._marks.advance()

    def set_exception(self, exception: Exception, /) -> None:
        """It is not: for ever, then nobody waits for it; or it was given up, then it is to be sent again."""
        if isinstance(exception, Unavailable):
            return
        self._marks.refused += 1
        self.is_settled = True
        self._marks.advance()


class Marks:
    """The marks of one session. ``stored``: every event up to this number is stored or refused for ever."""

    def __init__(self, session: str, stored: int) -> None:
        self.session = session
        self.stored = stored
        self.refused = 0
        self._open: deque[Mark] = deque()

    def __len__(self) -> int:
        return len(self._open)

    def mark(self, sequence: int) -> Mark:
        """Return the mark of the next event."""
        made = Mark(self, sequence)
        self._open.append(made)
        return made

    def withdraw(self) -> None:
        """Take the newest mark back: its event was not handed over."""
        self._open.pop()

    def skip(self, sequence: int) -> None:
        """Take note of a number that nothing is stored of."""
        if self._open:
            self.mark(sequence).is_settled = True
        else:
            self.stored = sequence

    def advance(self) -> None:
        """Move on over everything that is settled."""
        waiting = self._open
        while waiting and waiting[0].is_settled:
            self.stored = waiting.popleft().sequence
