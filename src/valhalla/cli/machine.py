"""What this machine must have for the embedded servers, looked at without starting anything."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from valhalla.embedded import binaries
from valhalla.kernel.problems import Problem

_LITTLE: Final = 256 * 2**20


def checks(data_dir: Path) -> dict[str, dict[str, Any]]:
    """Return one check per thing that ``up`` needs."""
    return {
        "python": _python(),
        "postgres binary": _binary(lambda: binaries.postgres_program("postgres")),
        "valkey binary": _binary(binaries.valkey_program),
        "nats binary": _binary(binaries.nats_program),
        "data directory": _writable(data_dir),
        "disk": _disk(data_dir),
        "ports": _ports(),
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
    place = _place(data_dir)
    usable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    reason = str(data_dir) if usable else f"{place} cannot be written to"
    return {"ok": usable, "reason": reason, "help": "Choose another with --data-dir or VALHALLA_DATA_DIR."}


def _place(data_dir: Path) -> Path:
    # the nearest parent that exists is where it would be made
    return next(path for path in (data_dir, *data_dir.parents) if path.exists())


def _disk(data_dir: Path) -> dict[str, Any]:
    free = shutil.disk_usage(_place(data_dir)).free
    # what an empty embedded cluster takes, and some room for work
    return {"ok": free >= _LITTLE, "reason": f"{free // 2**20} MB free", "help": "Free some space on that disk."}


def _ports() -> dict[str, Any]:
    """Bind a free port of the loopback address, as each embedded server does."""
    try:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
    except OSError as error:
        return {
            "ok": False,
            "reason": f"127.0.0.1 takes no port: {error.strerror}",
            "help": "Look at this machine's loopback network and its limits.",
        }
    return {"ok": True, "reason": "127.0.0.1 has free ports", "help": None}
