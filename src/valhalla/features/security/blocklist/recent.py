"""The last requests of this process: what a rule would have done to them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from valhalla.features.security.blocklist.contracts import BlockRule, Facts
from valhalla.features.security.blocklist.matching import Index, decide

_MOST: Final = 10_000
_SHOWN: Final = 5


class Impact(NamedTuple):
    """What rules would have done to the last ``of`` requests: ``blocked`` of them, ``with_key`` had a valid key."""

    blocked: int
    of: int
    with_key: int
    paths: tuple[str, ...]
    """Some of what would not have been answered, each once."""
    owners: tuple[str, ...]
    """Some of those whose keys they were."""


class Recent:
    """A ring of the last requests, whether they were let in or not; probes are left out."""

    def __init__(self, most: int = _MOST) -> None:
        self._ring: deque[Facts] = deque(maxlen=most)
        self.note: Callable[[Facts], None] = self._ring.append

    def __len__(self) -> int:
        return len(self._ring)

    def __iter__(self) -> Iterator[Facts]:
        return iter(tuple(self._ring))

    def impact(self, wanted: Iterable[BlockRule], present: Index) -> Impact:
        """Say which of the last requests rules would have refused, that pass now. What is allowed stays so."""
        facts = tuple(self._ring)
        return impact(facts, wanted, present, time.time())


def impact(requests: tuple[Facts, ...], wanted: Iterable[BlockRule], present: Index, now: float) -> Impact:
    """Say which requests rules would have refused that pass now; ``now`` in seconds since the epoch."""
    trial = Index(present.compiler)
    for rule in wanted:
        trial.put(rule.action, rule.type, rule.value)
    blocked = with_key = 0
    paths: dict[str, None] = {}
    owners: dict[str, None] = {}
    for one in requests:
        if (
            trial.blocked.find(one, now) is None
            or trial.allowed.find(one, now) is not None
            or present.allowed.find(one, now) is not None
            or decide(present, one, now) is not None
        ):
            continue
        blocked += 1
        if one.api_key is not None:
            with_key += 1
            if one.principal is not None and len(owners) < _SHOWN:
                owners[one.principal] = None
        if len(paths) < _SHOWN:
            paths[one.path[:200]] = None
    return Impact(blocked, len(requests), with_key, tuple(paths), tuple(owners))
