"""What this machine must have for the embedded servers, looked at without starting anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from valhalla.embedded import binaries
from valhalla.kernel.problems import Problem


def checks(data_dir: Path) -> dict[str, dict[str, Any]]:
    """Return one check per thing that ``up`` needs."""
    return {
        "python": _python(),
        "postgres binary": _binary(lambda: binaries.postgres_program("postgres")),
        "valkey binary": _binary(binaries.valkey_program),
        "nats binary": _binary(binaries.nats_program),
        "data directory": _writable(data_dir),
    }


def _python() -> dict[str, Any]:
    version = ".".join(map(str, sys.version_info[:3]))
    return {"ok": sys.version_info >= (3, 11), "reason": version, "help": "Valhalla needs Python 3.11 or newer."}


def _binary(find: Callable[[], Path]) -> dict[str, Any]:
    try:
        return {"ok": True, "reason": str(find()), "help": None}
    except Problem as problem:
        return {"ok": False, "reason": problem.detail, "help": problem.advice}


def _writable(data_dir: Path) -> dict[str, Any]:
    # the nearest parent that exists is where it would be made
    place = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    usable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    reason = str(data_dir) if usable else f"{place} cannot be written to"
    return {"ok": usable, "reason": reason, "help": "Choose another with --data-dir or VALHALLA_DATA_DIR."}
