"""When a control plane that is away, or refuses for now, is asked again: pure."""

from __future__ import annotations

import math
from typing import Final

from valhalla.sdk.errors import ApiProblem, Unreachable

_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
# whoever is sent away for an hour still wants to see within a minute that it was lifted
_LONGEST: Final = 60.0
_LATER: Final = frozenset({408, 425, 429})


class TurnedAway(Unreachable):
    """There was no answer, or a refusal; ``seconds`` until the next time it is asked."""

    def __init__(self, error: ApiProblem | Unreachable, seconds: float) -> None:
        super().__init__(None, f"{error}; asked again in {math.ceil(seconds)} s")


class Patience:
    """How often it was asked in vain, and until when nobody asks."""

    def __init__(self) -> None:
        self._failures = 0
        self._answered = False
        self._error: ApiProblem | Unreachable | None = None
        self._until = 0.0

    def check(self, now: float) -> None:
        """Return when it may be asked.

        Raises:
            TurnedAway: not yet.
        """
        if self._error is not None and now < self._until:
            raise TurnedAway(self._error, self._until - now) from self._error

    def answered(self) -> None:
        """It answered: the next failure is a first one."""
        self._failures, self._answered, self._error = 0, True, None

    def failed(self, error: ApiProblem | Unreachable, now: float) -> TurnedAway:
        """Return what to tell about a failure; nobody asks for a while.

        Raises:
            ApiProblem: it never answered, and will not answer a repetition: there is nothing to wait for.
        """
        if isinstance(error, ApiProblem) and not self._answered and not _passes(error):
            raise error
        asked = error.retry_after if isinstance(error, ApiProblem) else None
        seconds = min(max(asked or 0.0, _PAUSES[min(self._failures, len(_PAUSES) - 1)]), _LONGEST)
        self._failures += 1
        self._error, self._until = error, now + seconds
        return TurnedAway(error, seconds)


def _passes(problem: ApiProblem) -> bool:
    return problem.status >= 500 or problem.status in _LATER
