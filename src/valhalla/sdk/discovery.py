"""Which control plane, and with which key: arguments first, then the environment, then the data directory.

A running control plane leaves ``control.json`` in its data directory. One that was killed leaves it, too, so
the recorded process is checked by its pid *and* its start time: pids are used again.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from valhalla.sdk.errors import NotRunning

DEFAULT_DATA_DIR: Final = Path(".valhalla")


@dataclass(frozen=True, slots=True)
class Control:
    """What a control plane wrote about itself: ``control.json``."""

    pid: int
    started: int | None
    url: str
    version: str
    data_dir: Path
    admin_key_file: Path
    services: dict[str, Any]

    @property
    def is_running(self) -> bool:
        """Whether that very process still runs."""
        return process_runs(self.pid, self.started)

    def admin_key(self) -> str | None:
        """Read the admin key; ``None`` when this user may not."""
        try:
            return self.admin_key_file.read_text().strip() or None
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask and how to identify; ``control`` when it is the data directory's own control plane."""

    url: str
    api_key: str | None
    control: Control | None = None

    def __repr__(self) -> str:
        return f"Endpoint(url={self.url!r}, api_key=***)"


def data_directory(given: Path | None = None) -> Path:
    """Return the absolute data directory: the argument, ``VALHALLA_DATA_DIR``, or ``./.valhalla``."""
    return Path(given or os.environ.get("VALHALLA_DATA_DIR") or DEFAULT_DATA_DIR).expanduser().absolute()


def read_control(data_dir: Path) -> Control | None:
    """Read the record of the last start; ``None`` when there is none that can be believed.

    Raises:
        NotRunning: others can write or read the record, so it may not be ours.
    """
    path = data_dir / "control.json"
    try:
        # whoever can plant this file could collect the key that is sent to its url
        if path.stat().st_mode & 0o077:
            raise NotRunning(data_dir, reason=f"{path} is open to other users and was not used (chmod 600)")
        members: Any = json.loads(path.read_text())
        record = cast("dict[str, Any]", members)
        started = record.get("started")
        return Control(
            pid=int(record["pid"]),
            started=None if started is None else int(started),
            url=str(record["url"]),
            version=str(record.get("version", "")),
            data_dir=data_dir,
            admin_key_file=Path(record.get("admin_key_file") or data_dir / "admin.key"),
            services=dict(record.get("services") or {}),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def process_runs(pid: int, started: int | None) -> bool:
    """Say whether process ``pid`` runs and began at ``started`` (clock ticks after boot; ``None``: any)."""
    if pid <= 0:
        return False
    try:
        # the name in field 2 may hold spaces and brackets: fields are counted after the last ')'
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return not Path("/proc/self/stat").exists() and _answers_signal(pid)
    return fields[0] not in {"Z", "X"} and (started is None or int(fields[19]) == started)


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks after boot; ``None`` where that cannot be known."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def _answers_signal(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def running(data_dir: Path) -> Control:
    """Return the control plane that runs on ``data_dir``.

    Raises:
        NotRunning: none does; ``stale`` when one did and left its record behind.
    """
    control = read_control(data_dir)
    if control is None:
        raise NotRunning(data_dir)
    if not control.is_running:
        reason = f"the control plane of {data_dir} (process {control.pid}) has ended"
        raise NotRunning(data_dir, stale=True, reason=reason)
    return control


def find(url: str | None = None, api_key: str | None = None, data_dir: Path | None = None) -> Endpoint:
    """Find the control plane to talk to.

    A data directory that was named wins over ``VALHALLA_URL``: what is typed is meant. The directory's admin
    key is only ever sent to the address its own control plane recorded.

    Raises:
        NotRunning: nothing was named and nothing runs.
    """
    key = api_key or os.environ.get("VALHALLA_API_KEY") or None
    wanted = url or (None if data_dir is not None else os.environ.get("VALHALLA_URL")) or None
    if wanted is not None:
        return Endpoint(wanted.rstrip("/"), key or _own_key(wanted, data_directory(data_dir)))
    control = running(data_directory(data_dir))
    return Endpoint(control.url.rstrip("/"), key or control.admin_key(), control)


def _own_key(url: str, data_dir: Path) -> str | None:
    try:
        control = running(data_dir)
    except NotRunning:
        return None
    return control.admin_key() if control.url.rstrip("/") == url.rstrip("/") else None
