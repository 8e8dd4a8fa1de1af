"""Who takes most: approximate, in bounded memory, of the last minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# this many subjects are told apart at least; who takes more than 1/KEPT of everything is always among them
_KEPT: Final = 128
_PERIOD: Final = 60.0


class Talkers:
    """One rule's counts: totals since the start, and subjects of this minute and of the one before."""

    __slots__ = ("_before", "_begun", "_now", "refused", "shadowed", "taken")

    def __init__(self, now: float) -> None:
        self.taken = 0
        self.refused = 0
        self.shadowed = 0
        self._begun = now
        self._now: dict[str, list[int]] = {}
        self._before: dict[str, list[int]] = {}

    def note(self, subject: str, cost: int, now: float, *, refused: bool, shadowed: bool = False) -> None:
        """Count one request; ``now`` is of a monotonic clock."""
        self.taken += 0 if refused else cost
        self.refused += refused
        self.shadowed += shadowed
        if now - self._begun > _PERIOD:
            self._before, self._now, self._begun = self._now, {}, now
        count = self._now.get(subject)
        if count is None:
            if len(self._now) >= 2 * _KEPT:
                self._now = dict(_most(self._now, _KEPT))
            count = self._now[subject] = [0, 0]
        count[refused] += cost

    def top(self, many: int) -> Sequence[tuple[str, int, int]]:
        """Return ``(subject, taken, refused)`` of those who asked most."""
        both = {subject: list(count) for subject, count in self._before.items()}
        for subject, (taken, refused) in self._now.items():
            found = both.setdefault(subject, [0, 0])
            found[0] += taken
            found[1] += refused
        return [(subject, taken, refused) for subject, (taken, refused) in _most(both, many)]


def _most(counts: dict[str, list[int]], many: int) -> list[tuple[str, list[int]]]:
    return sorted(counts.items(), key=lambda item: -sum(item[1]))[:many]
