"""One million live sandboxes on many cells, simulated: ``python -m bench.simulate_cells [NAME=VALUE …]``.

A name is a field of ``Assumed`` or ``Scenario``. Nothing is started or measured: what goes in was measured on one cell
or assumed, and the output says which. The same arguments give the same output.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from bench.cell_events import Fleet
from bench.cell_model import Assumed, Measured, Plan
from bench.cell_state import Phase, Scenario
from bench.report import RESULTS

_LIVES = {"2 min": 120, "15 min": 900, "8 h": 28_800, "24 h": 86_400}


def run(changes: list[str] | None = None) -> None:
    """Simulate, print the tables and write ``bench/results/cells.json``.

    Raises:
        ValueError: a change is not ``NAME=VALUE`` of a known name.
    """
    assumed, scenario = _changed(changes or [])
    plan = Plan(Measured(), assumed)
    fleet = Fleet(plan, scenario)
    fleet.run()
    sizes = {name: _size(Plan(plan.measured, _with_life(assumed, life))) for name, life in _LIVES.items()}
    phases = {name: _summary(phase) for name, phase in fleet.phases.items()}
    seen = _seen(fleet)
    _print(plan, scenario, sizes, phases, seen)
    document = {
        "title": "Cells: a simulated fleet",
        "measured": dataclasses.asdict(plan.measured),
        "assumed": dataclasses.asdict(assumed),
        "scenario": dataclasses.asdict(scenario),
        "fleet": _size(plan),
        "by mean life": sizes,
        "phases": phases,
        "seen": seen,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cells.json").write_text(json.dumps(document, indent=2) + "\n")


def _changed(changes: list[str]) -> tuple[Assumed, Scenario]:
    given = dict(change.partition("=")[::2] for change in changes)
    made: list[Any] = []
    for kind in (Assumed, Scenario):
        names = {f.name: type(f.default) for f in dataclasses.fields(kind)}
        made.append(kind(**{name: names[name](given.pop(name)) for name in list(given) if name in names}))
    if given:
        raise ValueError(f"unknown: {', '.join(given)}")
    return made[0], made[1]


def _with_life(assumed: Assumed, seconds: float) -> Assumed:
    return dataclasses.replace(assumed, mean_life_s=seconds)


def _size(plan: Plan) -> dict[str, float]:
    return {
        "claims/s = ends/s, fleet": round(plan.claims_per_s, 1),
        "cells": plan.cells,
        "  needed for places": plan.cells_for_live,
        "  needed for the rate": plan.cells_for_rate,
        "claims/s, per cell": round(plan.claims_per_s / plan.cells, 2),
        "control-plane processes": plan.processes(plan.claims_per_s),
        "arenas, per cell": plan.arenas_per_cell,
        "pg_class rows, per arena": plan.arena_relations,
        "files, per cell": round(plan.cell_files),
        "disk GB, per cell": round(plan.cell_disk_gb, 1),
        "memory GB, per cell": round(plan.cell_memory_gb, 1),
        "WAL MB/s, per cell": round(plan.cell_wal_mb_per_s, 2),
        "time in checkpoints, %": round(plan.checkpoint_share * 100, 1),
        "disk TB, fleet": round(plan.cell_disk_gb * plan.cells / 1e3, 2),
        "cost per month *": round(plan.cost_month),
        "cost per 1,000 sandbox hours *": round(plan.cost_per_1000_sandbox_hours, 4),
    }


def _summary(phase: Phase) -> dict[str, float]:
    waits = sorted(phase.waits) or [0.0]

    def at(share: float) -> float:
        return round(waits[min(len(waits) - 1, int(len(waits) * share))] * 1000, 1)

    return {
        "claims": phase.claims,
        "from the pool %": round(100 * phase.pooled / max(1, phase.claims), 2),
        "wait p50 ms": at(0.5),
        "p99": at(0.99),
        "worst": at(1),
        "in a third cell %": round(100 * phase.spilled / max(1, phase.claims), 2),
        "tried the dead": phase.late,
        "refused": phase.refused,
    }


def _seen(fleet: Fleet) -> dict[str, float]:
    return {
        "events": fleet.events,
        "most claims/s in one cell": round(max(cell.most_recent for cell in fleet.cells) / 10, 1),
        "most live in one cell": max(cell.most_live for cell in fleet.cells),
        "most undropped in one cell": max(cell.most_drops for cell in fleet.cells),
        "pools that ran dry": sum(cell.least_ready == 0 for cell in fleet.cells),
        "sandboxes lost with the cell": fleet.lost,
        "share of all live %": round(100 * fleet.lost / fleet.plan.assumed.live, 2),
        "made again before the end": fleet.recreated,
    }


def _print(
    plan: Plan,
    scenario: Scenario,
    sizes: dict[str, dict[str, float]],
    phases: dict[str, dict[str, float]],
    seen: dict[str, float],
) -> None:
    print(f"\nCells: {plan.assumed.live:,} live sandboxes, simulated; by mean life of a sandbox")
    print(f"{'':32}" + "".join(f"{name:>14}" for name in sizes))
    for row in next(iter(sizes.values())):
        print(
            f"{row:32}"
            + "".join(f"{size[row]:>14,g}" if size[row] < 1e6 else f"{size[row]:>14,}" for size in sizes.values())
        )
    print("* with the prices in cell_model.py, which are placeholders")
    print(
        f"\nmean life {plan.assumed.mean_life_s:g} s, {plan.cells} cells; burst of {scenario.burst:g} x for"
        f" {scenario.burst_s:g} s, then the fullest cell dies;"
        f" waits come on top of a claim's {plan.measured.claim_ms:g} ms"
    )
    columns = list(next(iter(phases.values())))
    print(f"{'':18}" + "".join(f"{name:>19}" for name in columns))
    for name, row in phases.items():
        print(f"{name:18}" + "".join(f"{row[column]:>19,}" for column in columns))
    for name, value in seen.items():
        print(f"{name:32}{value:>14,}")


if __name__ == "__main__":
    run(sys.argv[1:])
