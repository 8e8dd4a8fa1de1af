"""Claims whose answer never came: nobody runs them, so they are given back as soon as the store is there again."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from valhalla.guard.contracts import BeginRequest, CasRequest, CasResult, Page, Record, Scan, Verdict
from valhalla.guard.steps import Steps
from valhalla.kernel.problems import Unavailable

# so many are remembered; of what is older the lease tells in the end that nobody knows what became of it
_MOST: Final = 1000
_UNRUN: Final = frozenset({"executing", "indeterminate"})
_REASON: Final = "the claim's answer was lost, and nothing was run"


class Claim(Struct, frozen=True):
    """One claim that may have been made. ``attempt`` tells it from everybody else's."""

    id: str
    name: str
    key: str | None
    attempt: str
    actor: str


class Unanswered:
    """The claims of one process."""

    def __init__(self) -> None:
        self._claims: deque[Claim] = deque(maxlen=_MOST)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._claims)

    def begun(self, request: BeginRequest) -> None:
        """Remember a ``begin`` that raised."""
        if request.verdict is Verdict.RUN and (request.key is not None or request.track):
            self._claims.append(Claim(request.id, request.name, request.key, request.id, request.principal))

    def dispatched(self, record: Record, attempt: str, actor: str) -> None:
        """Remember a dispatch that raised."""
        self._claims.append(Claim(record.id, record.name, None, attempt, actor))

    def release(self, met: Record | None = None) -> Steps[bool]:
        """Give back what was claimed; say whether ``met`` was."""
        freed = False
        for _ in range(len(self._claims)):
            try:
                claim = self._claims.popleft()
            except IndexError:
                # another thread is at it
                break
            try:
                id_ = yield from _give_back(claim)
            except Unavailable:
                self._claims.append(claim)
                break
            freed = freed or (met is not None and id_ == met.id)
        return freed


def _give_back(claim: Claim) -> Steps[str | None]:
    scan = Scan("id", id=claim.id) if claim.key is None else Scan("key", name=claim.name, key=claim.key)
    page: Page = yield scan
    for record in page.records:
        if record.state in _UNRUN and (record.attempt or record.id) == claim.attempt:
            result: CasResult = yield CasRequest(
                record.id, _UNRUN, "not_done", "unanswered", claim.actor, generation=record.generation,
                version=record.version, patch={"reason": _REASON},
            )  # fmt: skip
            return record.id if result.done else None
    return None


__all__ = ["Claim", "Unanswered"]
