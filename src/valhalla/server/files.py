"""The control plane's own files in the data directory. Everything is private to the user that runs it."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from valhalla.kernel.problems import Misconfigured

CONTROL = "control.json"
ADMIN_KEY = "admin.key"
PORT = "port"


def prepare(data_dir: Path) -> Path:
    """Make the data directory private and return its absolute path.

    Raises:
        Misconfigured: it cannot be made or written.
    """
    path = data_dir.resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        # as root, Postgres runs under another account, which must be able to pass through (not list) the directory
        path.chmod(0o711 if os.geteuid() == 0 else 0o700)
        probe = path / f".write-{secrets.token_hex(4)}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise Misconfigured(
            f"the data directory {path} cannot be used: {error.strerror}",
            help="Choose another with --data-dir, or free space and correct its permissions.",
            setting="data_dir",
        ) from error
    return path


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    staged.replace(path)


def write_control(data_dir: Path, document: dict[str, Any]) -> None:
    """Tell clients on this machine where the control plane is."""
    write_private(data_dir / CONTROL, json.dumps(document, indent=2) + "\n")


def running(data_dir: Path) -> dict[str, Any] | None:
    """Return what the running control plane told, None when none runs (a crash leaves the file behind)."""
    try:
        document: dict[str, Any] = json.loads((data_dir / CONTROL).read_text())
        return document if start_ticks(document["pid"]) == document["started"] else None
    except (OSError, ValueError, KeyError):
        return None


def remove_control(data_dir: Path) -> None:
    """Tell clients that it has stopped."""
    (data_dir / CONTROL).unlink(missing_ok=True)


def keep_admin_key(data_dir: Path, key: str) -> None:
    """Store a fresh admin key for the local command line."""
    write_private(data_dir / ADMIN_KEY, key + "\n")


def last_port(data_dir: Path) -> list[int]:
    """Return the port of the last run, if one is known."""
    try:
        return [int((data_dir / PORT).read_text())]
    except (OSError, ValueError):
        return []


def keep_port(data_dir: Path, port: int) -> None:
    """Remember the port, so that URLs survive a restart."""
    write_private(data_dir / PORT, f"{port}\n")


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot (Linux), to tell it from a later one of the same pid."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])
