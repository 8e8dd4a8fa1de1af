"""Figures as a table for people and as JSON for machines."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured quantity; ``goal`` is an upper bound in the same unit, ``floor`` a lower one.

    What is promised of the tail (``tail``) is judged by the p99, anything else by the median.
    """

    name: str
    unit: str
    n: int
    minimum: float
    p50: float
    p99: float
    goal: float | None = None
    floor: float | None = None
    tail: bool = False

    @property
    def verdict(self) -> str:
        if self.goal is None and self.floor is None:
            return ""
        judged = self.p99 if self.tail else self.p50
        below = self.floor is not None and judged < self.floor
        return "MISSED" if below or (self.goal is not None and judged > self.goal) else "ok"


def figure(
    name: str,
    unit: str,
    samples: Sequence[float],
    goal: float | None = None,
    *,
    floor: float | None = None,
    tail: bool = False,
) -> Figure:
    """Summarise samples."""
    ordered = sorted(samples)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return Figure(name, unit, len(ordered), ordered[0], statistics.median(ordered), last, goal, floor, tail)


def publish(title: str, figures: Sequence[Figure]) -> None:
    """Print the table and write ``bench/results/<title>.json``."""
    print(f"\n{title}")
    print(f"{'':46} {'n':>4} {'min':>9} {'p50':>9} {'p99':>9}  {'goal':>7}")
    for item in figures:
        bound = item.goal if item.floor is None else item.floor
        mark = ("" if item.floor is None else ">") + ("p99 " if item.tail else "")
        goal = "" if bound is None else f"{mark}{bound:g}"
        print(
            f"{item.name + ' [' + item.unit + ']':46} {item.n:4} {item.minimum:9.2f} {item.p50:9.2f} {item.p99:9.2f}"
            f"  {goal:>7} {item.verdict}"
        )
    RESULTS.mkdir(exist_ok=True)
    document = {
        "title": title,
        "at": datetime.now(UTC).isoformat(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "figures": [asdict(item) | {"verdict": item.verdict} for item in figures],
    }
    name = title.partition(":")[0].replace(" ", "-").lower()
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
