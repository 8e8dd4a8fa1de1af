"""What a check answers, and what is reported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check may answer instead of ``True`` or ``False``; ``age`` is in seconds, of evidence taken before."""

    ok: bool
    reason: str | None = None
    age: float = 0.0


Check = Callable[[], "bool | Verdict | Awaitable[bool | Verdict]"]


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of one check. ``seconds`` it took; ``age`` in seconds of the evidence, None when there is none.

    ``late`` means that it was asked and has not answered.
    """

    name: str
    ok: bool
    reason: str | None = None
    seconds: float = 0.0
    age: float | None = None
    critical: bool = True
    help: str | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict over all checks: ready if every critical one is well. ``reason`` names the first that is not."""

    ok: bool
    reason: str | None
    results: tuple[Result, ...]

    def __getitem__(self, name: str) -> Result:
        """Return one check's result.

        Raises:
            KeyError: there is none of this name.
        """
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(name)
