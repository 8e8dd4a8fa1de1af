"""A fleet of cells, event by event: claims, ends, builds, drops, a burst, a cell that dies. No clock, no server."""

from __future__ import annotations

import heapq
import random
from bisect import bisect
from collections import deque
from dataclasses import dataclass, field

from bench.cell_model import Plan

_ARRIVE, _END, _WORKED, _BACK, _DIE = range(5)
_CANDIDATES = 8
_BATCH = 10
_MASK = (1 << 64) - 1


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


class Fleet:
    """The simulation; ``run`` once."""

    def __init__(self, plan: Plan, scenario: Scenario, seed: int = 1) -> None:
        self.plan, self.scenario = plan, scenario
        self.random = random.Random(seed)
        self.cells = [Cell(plan.assumed.pool_floor) for _ in range(plan.cells)]
        self.phases = {name: Phase() for name in ("calm", "burst", "after the burst", "a cell dies")}
        self.lost = self.recreated = self.ended = self.events = self.dead_tries = 0
        self.recreated_at = 0.0
        self._heap: list[tuple[float, int, int, int]] = []
        self._order = 0
        sigma = plan.assumed.tenant_spread
        sizes = [self.random.lognormvariate(0, sigma) for _ in range(plan.assumed.tenants)]
        self._cumulative: list[float] = []
        total = 0.0
        for size in sizes:
            total += size
            self._cumulative.append(total)
        self._ranks: dict[int, list[int]] = {}
        self._dead = -1
        self._dead_known = False

    def run(self) -> None:
        """Fill the fleet to its steady state, then live through the scenario."""
        self._prefill()
        self._push(0.0, _ARRIVE, 0)
        self._push(self.scenario.death_at, _DIE, 0)
        while self._heap and self._heap[0][0] <= self.scenario.seconds:
            now, _, kind, number = heapq.heappop(self._heap)
            self.events += 1
            if kind == _ARRIVE:
                self._claim(now)
                self._push(now + self.random.expovariate(self._rate(now)), _ARRIVE, 0)
            elif kind == _END:
                self._finish(now, number)
            elif kind == _WORKED:
                self._worked(now, number)
            elif kind == _BACK:
                self.recreated += 1
                self.recreated_at = now
                self._claim(now)
            else:
                self._die(now)

    def _rate(self, now: float) -> float:
        during = self.scenario.burst_at <= now < self.scenario.burst_at + self.scenario.burst_s
        return self.plan.claims_per_s * (self.scenario.burst if during else 1)

    def _phase(self, now: float) -> Phase:
        s = self.scenario
        if now < s.burst_at:
            return self.phases["calm"]
        if now < s.burst_at + s.burst_s:
            return self.phases["burst"]
        return self.phases["after the burst" if now < s.death_at else "a cell dies"]

    def _push(self, at: float, kind: int, number: int) -> None:
        # the order of pushing breaks ties, so that two runs are the same
        self._order += 1
        heapq.heappush(self._heap, (at, self._order, kind, number))

    def _prefill(self) -> None:
        mean, seconds = self.plan.assumed.mean_life_s, self.scenario.seconds
        for _ in range(self.plan.assumed.live):
            chosen = self._choose(self._tenant(), by_live=True)
            if chosen is None:
                continue
            self.cells[chosen].live += 1
            # what is left of an exponential life is exponential again; later ends are never looked at
            if (left := self.random.expovariate(1 / mean)) <= seconds:
                self._push(left, _END, chosen)

    def _tenant(self) -> int:
        return bisect(self._cumulative, self.random.random() * self._cumulative[-1])

    def _ranking(self, tenant: int) -> list[int]:
        """Rendezvous hashing: every cell draws a number for the tenant, the highest are its cells, in that order."""
        found = self._ranks.get(tenant)
        if found is None:
            start = tenant * 1_000_003
            cells = range(len(self.cells))
            found = self._ranks[tenant] = sorted(cells, key=lambda cell: _mix(start + cell), reverse=True)
        return found

    def _choose(self, tenant: int, *, by_live: bool = False, tried: int = -1) -> int | None:
        """Take the emptier of the tenant's first two cells with a place; with a slot ready, if any near one has it."""
        limit = self.plan.assumed.cell_live_limit
        usable: list[int] = []
        for number in self._ranking(tenant):
            cell = self.cells[number]
            known = cell.alive or not self._dead_known
            if known and number != tried and cell.live + len(cell.waiting) < limit:
                usable.append(number)
                if len(usable) == 2 and (by_live or any(self.cells[n].ready for n in usable)):
                    break
                if len(usable) == _CANDIDATES:
                    break
        if not usable:
            return None
        if by_live:
            return min(usable[:2], key=lambda n: self.cells[n].live)
        for pair in (usable[:2], usable[2:]):
            if stocked := [n for n in pair if self.cells[n].ready]:
                return max(stocked, key=lambda n: self.cells[n].ready)
        return min(usable, key=lambda n: len(self.cells[n].waiting))

    def _claim(self, now: float) -> None:
        phase = self._phase(now)
        phase.claims += 1
        tenant = self._tenant()
        chosen = self._choose(tenant)
        lost = 0.0
        if chosen is not None and not self.cells[chosen].alive:
            self.dead_tries += 1
            phase.late += 1
            lost = self.plan.assumed.attempt_s
            chosen = self._choose(tenant, tried=chosen)
        if chosen is None:
            phase.refused += 1
            return
        phase.spilled += chosen not in self._ranking(tenant)[:2]
        cell = self.cells[chosen]
        self._count(cell, now)
        if cell.ready:
            cell.ready -= 1
            cell.least_ready = min(cell.least_ready, cell.ready)
            phase.pooled += 1
            phase.waits.append(lost)
            self._begin(now, chosen)
        else:
            cell.waiting.append((now - lost, phase))
        self._work(now, chosen)

    def _count(self, cell: Cell, now: float) -> None:
        """Keep the number of claims of about the last ten seconds."""
        cell.recent = cell.recent * max(0.0, 1 - (now - cell.recent_at) / 10) + 1
        cell.recent_at = now
        cell.most_recent = max(cell.most_recent, cell.recent)

    def _begin(self, now: float, number: int) -> None:
        cell = self.cells[number]
        cell.live += 1
        cell.born += 1
        cell.most_live = max(cell.most_live, cell.live)
        self._push(now + self.random.expovariate(1 / self.plan.assumed.mean_life_s), _END, number)

    def _finish(self, now: float, number: int) -> None:
        cell = self.cells[number]
        if not cell.alive:
            return
        cell.live -= 1
        cell.drops += 1
        cell.most_drops = max(cell.most_drops, cell.drops)
        self.ended += 1
        self._work(now, number)

    def _work(self, now: float, number: int) -> None:
        """Start the cell's worker on what is most urgent: callers who wait, then the pool, then drops."""
        cell = self.cells[number]
        if cell.busy or not cell.alive:
            return
        missing = max(self.plan.assumed.pool_floor, int(cell.recent)) - cell.ready
        if cell.waiting:
            cell.building = min(_BATCH, len(cell.waiting))
        elif missing > 0 and now >= cell.paced_until:
            cell.building = min(_BATCH, missing)
            cell.paced_until = now + cell.building / self.plan.assumed.fill_pace_per_s
        elif not cell.drops:
            if missing > 0:
                cell.busy = True
                self._push(cell.paced_until, _WORKED, number)
            return
        seconds = cell.building * self.plan.build_s
        if not cell.building:
            # a few at a time, so that a caller who comes now waits for milliseconds
            dropped = min(_BATCH, cell.drops)
            cell.drops -= dropped
            seconds = dropped * self.plan.drop_s
        cell.busy = True
        self._push(now + seconds, _WORKED, number)

    def _worked(self, now: float, number: int) -> None:
        cell = self.cells[number]
        cell.busy = False
        if not cell.alive:
            return
        cell.ready += cell.building
        cell.building = 0
        while cell.waiting and cell.ready:
            asked, phase = cell.waiting.popleft()
            cell.ready -= 1
            cell.least_ready = 0
            phase.waits.append(now - asked)
            self._begin(now, number)
        self._work(now, number)

    def _die(self, now: float) -> None:
        """Lose the fullest cell with all it holds; its owners come back one by one."""
        if self._dead >= 0:
            self._dead_known = True
            return
        self._dead = max(range(len(self.cells)), key=lambda n: self.cells[n].live)
        cell = self.cells[self._dead]
        cell.alive = False
        self.lost = cell.live + len(cell.waiting)
        cell.waiting.clear()
        # ``ready`` stays: until the death is noticed, that is what the directory believes
        cell.live = cell.drops = 0
        for _ in range(self.lost):
            self._push(now + self.random.expovariate(1 / self.plan.assumed.recreate_s), _BACK, 0)
        self._push(now + self.plan.assumed.detect_s, _DIE, 0)


def _mix(value: int) -> int:
    """Finaliser of splitmix64: the same on every machine, unlike ``hash``."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)
