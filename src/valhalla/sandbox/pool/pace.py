"""How fast the pool is filled at this moment. Pure.

Every slot is some twenty new files that a checkpoint has to sync: built without pause they make everybody wait for it
later. Callers that find the pool empty wait now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BURST: Final = 4
"""Claims within ``MOMENT`` seconds that are a burst: the filler makes way while there is something left to claim."""
MOMENT: Final = 0.1
DRY: Final = 2.0
"""Seconds for which a claim that found nothing counts as a caller that waits."""
LATE: Final = 0.1
"""Seconds by which the process is late when it has more to do than it can."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is known of one template's pool: slots wanted and ready, and what callers have met lately."""

    target: int
    ready: int
    missed: int = 0
    """Claims within ``DRY`` seconds that found nothing."""
    claimed: int = 0
    """Claims within ``MOMENT`` seconds."""
    late: float = 0.0
    """Seconds by which the filler's last pause was too long."""


def pace(demand: Demand, *, rate: float, rush: float) -> float:
    """Return how many slots to build per second: 0 is a pause, ``rate`` the usual pace, ``rush`` the fastest."""
    if demand.ready >= demand.target:
        return 0.0
    rush = max(rate, rush)
    if demand.ready == 0 or demand.missed:
        return rush
    left = demand.ready / demand.target
    if left >= 0.5:
        return 0.0 if demand.claimed >= BURST or demand.late > LATE else rate
    return rate + (rush - rate) * (1 - 2 * left)
