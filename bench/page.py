"""``docs/numbers.md``, written from the last results: ``python -m bench.page``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from bench.report import RESULTS

_PAGE: Final = Path(__file__).parent.parent / "docs" / "numbers.md"
_SECTION: Final = re.compile(r"^(?=## )", re.MULTILINE)
_HEAD: Final = """\
# Numbers

<!-- Made by `python -m bench.page` from what `make bench` measured. -->

Every figure that the benchmarks of the repository measured last, those that missed their goal included.

**The machine**: a virtual one with two CPUs (Intel Xeon) and 23 GB, Linux, Python 3.11; servers, control plane and the
program that measures share the two. Each table has its date, and the load (over 1, 5 and 15 minutes) when it was
measured: above 2 something else was using the machine at the same time, and the times say more about that than about
Valhalla. Compare figures of one table only, and run `make bench` on your own machine.

`p50` and `p99` are of the samples (of rates, too: there `p99` is the best). `U` is what one committed row costs in the
same run.
"""


def page(before: str) -> str:
    """Return the whole page; of what has no result here, the page as it was ``before`` tells."""
    parts = {part.split("\n", 1)[0].removeprefix("## "): part for part in _SECTION.split(before)[1:]}
    for file in sorted(RESULTS.glob("*.json")):
        document: dict[str, Any] = json.loads(file.read_text())
        if "figures" in document and document.get("at"):
            parts[document["title"]] = _section(document)
    return "\n".join([_HEAD, *(parts[title].rstrip("\n") + "\n" for title in sorted(parts))])


def _section(document: dict[str, Any]) -> str:
    load = ", ".join(f"{each:.1f}" for each in document.get("load") or ())
    lines = [
        f"## {document['title']}",
        "",
        f"{document['at'][:10]}, {document['cpus']} CPUs, load {load}.",
        "",
        "| what | p50 | p99 | unit | goal | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(each) for each in document["figures"]]
    return "\n".join([*lines, ""])


def _row(figure: dict[str, Any]) -> str:
    bound = figure.get("goal")
    floor = figure.get("floor")
    goal = f"≤ {_number(bound)}" if bound is not None else f"≥ {_number(floor)}" if floor is not None else ""
    name = figure["name"].strip().replace("|", "\\|").replace("<", "&lt;")
    verdict = "**missed**" if figure["verdict"] == "MISSED" else figure["verdict"]
    return f"| {name} | {_number(figure['p50'])} | {_number(figure['p99'])} | {figure['unit']} | {goal} | {verdict} |"


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


if __name__ == "__main__":
    _PAGE.write_text(page(_PAGE.read_text()))
