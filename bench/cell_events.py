"""A fleet of cells, event by event: claims, ends, builds, drops, a burst, a cell that dies. No clock, no server."""

from __future__ import annotations

import heapq
import random

from bench.cell_model import Plan
from bench.cell_placement import Placement
from bench.cell_state import Cell, Phase, Scenario

_ARRIVE, _END, _WORKED, _BACK, _DIE = range(5)
_BATCH = 10


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
        a = plan.assumed
        self._placement = Placement(self.cells, a.cell_live_limit, a.tenants, a.tenant_spread, self.random)
        self._dead = -1
        self._known: tuple[int, ...] = ()

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
        rate, seconds = 1 / self.plan.assumed.mean_life_s, self.scenario.seconds
        for _ in range(self.plan.assumed.live):
            chosen = self._placement.settle(self._placement.tenant())
            if chosen is None:
                continue
            self.cells[chosen].live += 1
            # what is left of an exponential life is exponential again; later ends are never looked at
            if (left := self.random.expovariate(rate)) <= seconds:
                self._order += 1
                self._heap.append((left, self._order, _END, chosen))
        heapq.heapify(self._heap)

    def _claim(self, now: float) -> None:
        phase = self._phase(now)
        phase.claims += 1
        tenant = self._placement.tenant()
        chosen = self._placement.choose(tenant, without=self._known)
        lost = 0.0
        if chosen is not None and not self.cells[chosen].alive:
            self.dead_tries += 1
            phase.late += 1
            lost = self.plan.assumed.attempt_s
            chosen = self._placement.choose(tenant, without=(chosen,))
        if chosen is None:
            phase.refused += 1
            return
        phase.spilled += chosen not in self._placement.ranking(tenant)[:2]
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
        end = now + self.random.expovariate(1 / self.plan.assumed.mean_life_s)
        if end <= self.scenario.seconds:
            self._push(end, _END, number)

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
            self._known = (self._dead,)
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
