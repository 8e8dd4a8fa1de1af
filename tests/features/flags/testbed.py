"""Reads flagd's testbed (github.com/open-feature/flagd-testbed): scenarios of its features, and the flags they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valhalla.features.operations.flags.contracts import Flag
from valhalla.features.operations.flags.evaluating import FlagSet
from valhalla.features.operations.flags.fractions import Generation

Row = dict[str, str]


@dataclass
class Scenario:
    """One scenario with the values of one example in it; ``tables`` are of the steps that have one."""

    name: str
    tags: frozenset[str]
    steps: list[str]
    tables: dict[int, list[Row]]


@dataclass
class _Block:
    name: str
    tags: frozenset[str]
    steps: list[str] = field(default_factory=list[str])
    tables: dict[int, list[list[str]]] = field(default_factory=dict[int, list[list[str]]])
    examples: list[tuple[frozenset[str], list[list[str]]]] = field(
        default_factory=list[tuple[frozenset[str], list[list[str]]]]
    )


def scenarios(text: str) -> Iterator[Scenario]:
    """Return every scenario of a feature, one for each example."""
    background: list[str] = []
    blocks: list[_Block] = []
    tags: frozenset[str] = frozenset()
    feature: frozenset[str] = frozenset()
    steps, rows = background, list[list[str]]()
    for line in map(str.strip, text.splitlines()):
        word, _, rest = line.partition(" ")
        if line.startswith("@"):
            tags |= frozenset(line.split())
        elif line.startswith("Feature:"):
            feature, tags = tags, frozenset()
        elif line.startswith("Scenario"):
            blocks.append(_Block(line.partition(":")[2].strip(), feature | tags))
            steps, tags = blocks[-1].steps, frozenset()
        elif line.startswith("Examples"):
            rows = list[list[str]]()
            blocks[-1].examples.append((tags, rows))
            tags = frozenset()
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if blocks[-1].examples:
                rows.append(cells)
            else:
                blocks[-1].tables.setdefault(len(steps) - 1, []).append(cells)
        elif word in ("Given", "When", "Then", "And", "But"):
            steps.append(rest)
    for block in blocks:
        tables = {at + len(background): _rows(found) for at, found in block.tables.items()}
        for more, example in _examples(block):
            filled = [_filled(step, example) for step in (*background, *block.steps)]
            yield Scenario(block.name, block.tags | more, filled, tables)


def flag_sets(definitions: Iterable[Path]) -> dict[Generation, FlagSet]:
    """Return the flags of files in flagd's format, once for every generation of buckets."""
    flags: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    for path in definitions:
        document = json.loads(path.read_text())
        flags |= document["flags"]
        shared |= document.get("$evaluators", {})

    def made(generation: Generation) -> FlagSet:
        some = {key: (Flag(key=key, buckets=generation, **members), 1) for key, members in flags.items()}
        return FlagSet(some, shared=shared)

    return {"v2": made("v2"), "v3": made("v3")}


def _examples(block: _Block) -> Iterator[tuple[frozenset[str], Row]]:
    if not block.examples:
        yield frozenset(), {}
    for tags, rows in block.examples:
        for row in _rows(rows):
            yield tags, row


def _rows(cells: list[list[str]]) -> list[Row]:
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]


def _filled(step: str, example: Row) -> str:
    for name, value in example.items():
        step = step.replace(f"<{name}>", value)
    return step
