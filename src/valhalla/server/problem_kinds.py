"""Every kind of problem that the product knows, for the pages that problems link to."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

from valhalla.kernel.problems import Problem


def problem_kinds() -> dict[str, type[Problem]]:
    """Return every problem by its code; a subclass that only narrows a code does not stand for it."""
    _load_errors()
    kinds: dict[str, type[Problem]] = {}
    waiting = [Problem]
    while waiting:
        kind = waiting.pop(0)
        kinds.setdefault(kind.code, kind)
        waiting.extend(kind.__subclasses__())
    return kinds


@cache
def _load_errors() -> None:
    """Import every ``errors`` module: a program's links lead here, also from parts that this process does not run."""
    package = Path(__file__).parents[1]
    for file in sorted(package.rglob("errors.py")):
        parts = file.relative_to(package).with_suffix("").parts
        # what is found without a server has no page on one
        if parts[0] not in ("sdk", "cli"):
            import_module(".".join(("valhalla", *parts)))
