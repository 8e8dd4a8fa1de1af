"""Who a process id is: its start and its program, so that a reused id is never mistaken for our child."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def started(pid: int) -> str | None:
    """Return a text that no other process with this id ever had, or ``None`` when it does not run (any more)."""
    if sys.platform != "linux":
        return _ps(pid, "lstart")
    try:
        # the second field is the program's name in parentheses and may itself contain any character
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}:{start}"


def program(pid: int) -> str | None:
    """Return the path of the program that the process runs; ``None`` when we may not know it."""
    if sys.platform != "linux":
        return _ps(pid, "comm")
    try:
        return str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(" (deleted)")
    except OSError:
        return None


def working_folder(pid: int) -> Path | None:
    """Return the current folder of the process; ``None`` when we may not know it."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def find(wanted: str, folder: Path) -> list[int]:
    """Return the ids of all processes that run this program in this folder (Linux; elsewhere none are found)."""
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if program(pid) == wanted and working_folder(pid) == folder]


def _ps(pid: int, column: str) -> str | None:
    answer = subprocess.run(
        ["/bin/ps", "-o", f"{column}=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=5
    )
    return answer.stdout.strip() or None
