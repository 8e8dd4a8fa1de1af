"""Which cell takes a claim: rendezvous hashing, and of the tenant's first two cells the better stocked."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Sequence

from bench.cell_state import Cell

_CANDIDATES = 8
_MASK = (1 << 64) - 1


class Placement:
    """The tenants of a fleet and the order in which each of them tries the cells."""

    def __init__(self, cells: Sequence[Cell], limit: int, tenants: int, spread: float, source: random.Random) -> None:
        """``limit`` is how many may live in one cell, ``spread`` the sigma of the log-normal sizes of tenants."""
        self._cells, self._limit, self._random = cells, limit, source
        self._ranks: list[list[int] | None] = [None] * tenants
        self._cumulative: list[float] = []
        total = 0.0
        for _ in range(tenants):
            total += source.lognormvariate(0, spread)
            self._cumulative.append(total)

    def tenant(self) -> int:
        """Draw who asks next; the big ones more often."""
        return bisect(self._cumulative, self._random.random() * self._cumulative[-1])

    def ranking(self, tenant: int) -> list[int]:
        """Every cell draws a number for the tenant; the highest are its cells, in that order."""
        found = self._ranks[tenant]
        if found is None:
            start = tenant * 1_000_003
            cells = range(len(self._cells))
            found = self._ranks[tenant] = sorted(cells, key=lambda cell: _mix(start + cell), reverse=True)
        return found

    def settle(self, tenant: int) -> int | None:
        """Choose for a fleet that is being filled: of the first two cells with a place, the emptier."""
        cells, limit, first = self._cells, self._limit, -1
        for number in self.ranking(tenant):
            if cells[number].live < limit:
                if first < 0:
                    first = number
                else:
                    return first if cells[first].live <= cells[number].live else number
        return first if first >= 0 else None

    def choose(self, tenant: int, *, without: Sequence[int] = ()) -> int | None:
        """Choose a cell with a place; None when there is none. The pair with a slot ready that comes first wins.

        ``without`` names cells that are known to be dead or were tried.
        """
        cells, limit = self._cells, self._limit
        usable: list[int] = []
        for number in self.ranking(tenant):
            cell = cells[number]
            if cell.live + len(cell.waiting) < limit and number not in without:
                usable.append(number)
                if len(usable) % 2 == 0:
                    one, two = cells[usable[-2]].ready, cell.ready
                    if one or two:
                        return usable[-2] if one >= two else number
                    if len(usable) == _CANDIDATES:
                        break
        if not usable:
            return None
        if cells[usable[-1]].ready:
            return usable[-1]
        return min(usable, key=lambda number: len(cells[number].waiting))


def _mix(value: int) -> int:
    """Finaliser of splitmix64: the same on every machine, unlike ``hash``."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)
