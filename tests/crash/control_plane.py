"""Real control planes as users start them, which a test kills and starts again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from valhalla.embedded import identity

# a dead worker's sandbox is taken over after a second, and what nobody owns is swept at once
HASTE = {
    "VALHALLA_LEASE": "PT1S",
    "VALHALLA_REAP_INTERVAL": "PT0.3S",
    "VALHALLA_ORPHAN_GRACE": "PT0S",
    "VALHALLA_MAX_SANDBOXES_PER_OWNER": "50",
    # every creation takes every step itself
    "VALHALLA_POOL_SIZE": "0",
}


def spawn(data_dir: Path, *words: str, **environment: str) -> subprocess.Popen[bytes]:
    """Run ``valhalla --data-dir … WORDS``."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VALHALLA_")}
    return subprocess.Popen(
        [sys.executable, "-m", "valhalla.cli", "--data-dir", str(data_dir), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**clean, **HASTE, **environment},
    )


def until(check: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Wait for a true answer and return it."""
    end = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
    return answer


def servers_of(data_dir: Path) -> dict[str, int]:
    """Return the process ids of the servers that run, or did when their parent was killed."""
    notes = (data_dir / "run").glob("*.json")
    return {note.stem: int(json.loads(note.read_text())["pid"]) for note in notes}


def users_of(data_dir: Path) -> list[str]:
    """Return the processes whose command line names the data directory."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes()
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if str(data_dir).encode() in line and state != "Z" and int(path.name) != os.getpid():
            found.append(f"{path.name} {line.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def gone(pids: Mapping[str, int], *, seconds: float = 10) -> bool:
    """Wait until none of these processes runs."""
    end = time.monotonic() + seconds
    while any(identity.started(pid) for pid in pids.values()):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class ControlPlane:
    """One data directory and the process that serves it now."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o711)
        self.folder = folder
        self.data_dir = folder / "data"
        self.process: subprocess.Popen[bytes] | None = None
        self.client: httpx.Client | None = None

    def start(self, **environment: str) -> None:
        """Start and wait until it answers."""
        self.process = spawn(self.data_dir, "up", **environment)
        control = until(self._control)
        key = (self.data_dir / "admin.key").read_text().strip()
        self.client = httpx.Client(base_url=control["url"], headers={"Authorization": f"Bearer {key}"}, timeout=20)
        until(self._answers)

    def doomed(self, **environment: str) -> None:
        """Start a process that crashes by itself; there may be no time to talk to it."""
        self.process = spawn(self.data_dir, "up", **environment)
        until(lambda: len(servers_of(self.data_dir)) == 3)

    def _control(self) -> dict[str, Any] | None:
        assert self.process is not None
        assert self.process.poll() is None, self.output()
        try:
            control = json.loads((self.data_dir / "control.json").read_text())
        except (OSError, ValueError):
            return None
        return control if control["pid"] == self.process.pid else None

    def _answers(self) -> bool:
        try:
            return self.http.get("/api/sandboxes").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def http(self) -> httpx.Client:
        assert self.client is not None
        return self.client

    def output(self) -> str:
        """Return what the ended process has printed."""
        assert self.process is not None
        assert self.process.stdout is not None
        return self.process.stdout.read().decode(errors="replace")

    def ended(self, *, seconds: float = 15) -> int:
        """Wait for the end of the process and its servers; return the exit status."""
        assert self.process is not None
        pids = servers_of(self.data_dir)
        status = self.process.wait(seconds)
        assert gone(pids), "a server outlived its control plane"
        if self.client is not None:
            self.client.close()
        return status

    def signal(self, number: signal.Signals) -> int:
        """Send a signal and return the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.ended()

    def remove(self) -> None:
        """End everything and remove the files."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGKILL)
        shutil.rmtree(self.folder)

    def new(self, **said: Any) -> dict[str, Any]:
        """Make a sandbox."""
        answer = self.http.post("/api/sandboxes", json={"template": "empty"} | said)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def end(self, sandbox: Mapping[str, Any]) -> None:
        """Destroy a sandbox and wait until it is gone."""
        answer = self.http.delete(f"/api/sandboxes/{sandbox['id']}", params={"wait": 10})
        assert answer.status_code == 200, answer.text

    def actions(self, sandbox: Mapping[str, Any]) -> list[str]:
        """Return what happened to a sandbox."""
        items = self.http.get(f"/api/sandboxes/{sandbox['id']}/audit").json()["items"]
        return [item["action"] for item in reversed(items)]

    def rows(self) -> list[dict[str, Any]]:
        """Return every sandbox of the registry, newest first."""
        answer = self.http.get("/api/sandboxes", params={"include_destroyed": True, "limit": 200})
        return answer.json()["items"]

    def row(self, name: str) -> dict[str, Any]:
        return next(row for row in self.rows() if row["name"] == name)
