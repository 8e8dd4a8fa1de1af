"""Another feature is seen only as its package, ``contracts``, ``errors`` and ``rules``: no store, service or wire."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import valhalla

ROOT: Final = Path(valhalla.__file__).parent
FEATURES: Final = ROOT / "features"
OPEN: Final = {"contracts", "errors", "rules"}


def imported(source: str) -> Iterator[str]:
    """Every name that a module imports, with its path."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def past_the_door(source: str, mine: tuple[str, ...]) -> list[str]:
    """What a module of the feature ``mine`` imports of the insides of others."""
    found: list[str] = []
    for name in imported(source):
        head, area, feature, part = (*name.split(".")[1:5], "", "", "", "")[:4]
        if not name.startswith("valhalla.features.") or head != "features" or (area, feature) == mine[:2]:
            continue
        folder = FEATURES / area / feature
        inside = (folder / f"{part}.py").exists() or (folder / part).is_dir()
        if part and inside and part not in OPEN:
            found.append(name)
    return found


def test_features_use_front_doors() -> None:
    broken: list[str] = []
    for path in sorted(FEATURES.rglob("*.py")):
        parts = path.relative_to(FEATURES).parts
        if len(parts) > 2:
            broken += [f"{'/'.join(parts)} imports {name}" for name in past_the_door(path.read_text(), parts)]
    assert broken == []


def test_an_import_past_the_door_would_be_found() -> None:
    store = "valhalla.features.security.blocklist.store"
    assert past_the_door(f"from {store} import top", ("security", "dashboard")) == [f"{store}.top"]
    assert past_the_door(f"from {store} import top", ("security", "blocklist")) == []
    inside = "from valhalla.features.security.blocklist import service"
    assert past_the_door(inside, ("data", "exports")) == ["valhalla.features.security.blocklist.service"]
    blocklist = "valhalla.features.security.blocklist"
    fine = f"from {blocklist} import Blocklist\nfrom {blocklist}.rules import made"
    assert past_the_door(fine, ("data", "exports")) == []
