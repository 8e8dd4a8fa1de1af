"""What the simulation of a fleet keeps: the scenario, what was seen in a phase, and one cell."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Scenario:
    """When what happens, in simulated seconds."""

    seconds: float = 130
    burst_at: float = 20
    burst_s: float = 20
    burst: float = 10
    death_at: float = 70


@dataclass
class Phase:
    """What was seen in one part of the run; times in seconds."""

    claims: int = 0
    pooled: int = 0
    waits: list[float] = field(default_factory=list[float])
    late: int = 0
    refused: int = 0
    spilled: int = 0
    """Claims that neither of the tenant's first two cells could serve."""


@dataclass
class Cell:
    """One Postgres + Valkey + NATS with its pool and its one worker for builds and drops."""

    ready: int
    live: int = 0
    alive: bool = True
    busy: bool = False
    drops: int = 0
    waiting: deque[tuple[float, Phase]] = field(default_factory=deque[tuple[float, Phase]])
    building: int = 0
    paced_until: float = 0.0
    recent: float = 0.0
    recent_at: float = 0.0
    most_recent: float = 0.0
    born: int = 0
    most_live: int = 0
    most_drops: int = 0
    least_ready: int = 1 << 30
