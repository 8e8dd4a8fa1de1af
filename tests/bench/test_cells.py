"""The simulated fleet: the same every time, and nothing in it appears or vanishes."""

from __future__ import annotations

import dataclasses
import random

import pytest
from bench.cell_events import Fleet
from bench.cell_model import Assumed, Measured, Plan
from bench.cell_placement import Placement
from bench.cell_state import Cell, Scenario
from bench.simulate_cells import _changed

SMALL = Assumed(live=4_000, cell_live_limit=250, mean_life_s=60, tenants=200, pool_floor=10, recreate_s=5)
SCENARIO = Scenario(seconds=40, burst_at=5, burst_s=5, death_at=20)


def ran(assumed: Assumed = SMALL, scenario: Scenario = SCENARIO) -> Fleet:
    fleet = Fleet(Plan(Measured(), assumed), scenario)
    fleet.run()
    return fleet


def test_two_runs_are_the_same() -> None:
    one, other = ran(), ran()
    assert {n: dataclasses.asdict(p) for n, p in one.phases.items()} == {
        n: dataclasses.asdict(p) for n, p in other.phases.items()
    }
    assert (one.events, one.lost, one.recreated) == (other.events, other.lost, other.recreated)


def test_every_claim_and_every_sandbox_is_accounted_for() -> None:
    fleet = ran()
    served = sum(len(phase.waits) for phase in fleet.phases.values())
    claims = sum(phase.claims for phase in fleet.phases.values())
    refused = sum(phase.refused for phase in fleet.phases.values())
    waiting = sum(len(cell.waiting) for cell in fleet.cells)
    born = sum(cell.born for cell in fleet.cells)
    assert served == born
    # callers who waited in the cell that died are the only others
    assert 0 <= claims - served - refused - waiting <= fleet.lost
    assert sum(cell.live for cell in fleet.cells) == SMALL.live + born - fleet.ended - fleet.lost + (
        claims - served - refused - waiting
    )


def test_no_cell_takes_more_than_its_limit_and_a_full_fleet_refuses() -> None:
    fleet = ran(scenario=dataclasses.replace(SCENARIO, burst=40))
    assert max(cell.most_live for cell in fleet.cells) <= SMALL.cell_live_limit
    assert fleet.phases["burst"].refused > 0
    assert fleet.phases["calm"].refused == 0


def test_only_the_dead_cells_sandboxes_are_lost_and_most_come_back() -> None:
    fleet = ran()
    assert 0 < fleet.lost <= SMALL.cell_live_limit
    assert fleet.recreated > 0.9 * fleet.lost
    assert fleet.phases["a cell dies"].late > 0


def test_when_a_cell_goes_only_its_own_tenants_move() -> None:
    """What rendezvous hashing is for: the order of the others does not depend on who else is there."""
    many, few = (Placement([Cell(0)] * count, 10, 50, 1.0, random.Random(1)) for count in (20, 19))
    for tenant in range(50):
        assert few.ranking(tenant) == [cell for cell in many.ranking(tenant) if cell < 19]


def test_short_lives_need_cells_for_their_rate() -> None:
    plan = Plan(Measured(), dataclasses.replace(SMALL, mean_life_s=1))
    assert plan.cells == plan.cells_for_rate > plan.cells_for_live


def test_an_unknown_parameter_is_refused() -> None:
    assert _changed(["burst=3", "live=10"])[0].live == 10
    with pytest.raises(ValueError, match="livee"):
        _changed(["livee=10"])
