"""Three servers and two control planes that share them, each of which can be killed, frozen and started again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx
from tests.crash.control_plane import spawn, until

from valhalla.embedded import Stack
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.postgres import Bootstrap, bootstrap

ROLE = "valhalla_chaos"
POOL = "6"


class Plane:
    """One control plane process on external servers; ``url`` is known while it serves."""

    def __init__(self, data_dir: Path, environment: dict[str, str]) -> None:
        self.data_dir = data_dir
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.url: str | None = None
        self.output: deque[str] = deque(maxlen=400)

    def start(self) -> None:
        """Start and wait until it serves; one that finds a server away is started again, as a supervisor would."""
        deadline = time.monotonic() + 180
        while True:
            self.process = spawn(self.data_dir, "up", **self.environment)
            # a full pipe would stop it
            threading.Thread(target=self._listen, args=[self.process], daemon=True).start()
            with suppress(AssertionError):
                self.url = until(self._serving, seconds=60)
                return
            self.kill()
            assert time.monotonic() < deadline, f"{self.data_dir.name} does not start: {list(self.output)[-5:]}"

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.output.append(line.decode(errors="replace").rstrip())

    def _serving(self) -> str | None:
        assert self.process is not None
        assert self.process.poll() is None
        try:
            control = json.loads((self.data_dir / "control.json").read_text())
        except (OSError, ValueError):
            return None
        return control["url"] if control["pid"] == self.process.pid else None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it and wait for the end."""
        assert self.process is not None
        self.url = None
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
            raise AssertionError(f"{self.data_dir.name} did not end within 20 s of signal {number}") from None


class World:
    """Everything that runs, and the log of what was done to it."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o711)
        self.folder = folder
        self.cell = CellKey.load_or_create(folder / "cell.key")
        self.stack = Stack(folder, self.cell, nats_operator=natsauth.trust(self.cell))
        self.log: list[str] = []
        self.faults: dict[str, int] = {}
        self.began = time.monotonic()
        self.planes: list[Plane] = []

    def open(self) -> None:
        """Start all of it."""
        endpoints = self.stack.start()
        assert endpoints.postgres_superuser_url is not None
        plan = Bootstrap(ROLE, "secret", ROLE, self.cell.cell)
        asyncio.run(bootstrap(endpoints.postgres_superuser_url, plan, exclusive=True))
        self.database_url = f"postgresql://{ROLE}:secret@127.0.0.1:{endpoints.postgres_port}/{ROLE}"
        environment = {
            "VALHALLA_DATABASE_URL": self.database_url,
            "VALHALLA_VALKEY_URL": str(endpoints.valkey_url),
            "VALHALLA_NATS_URL": str(endpoints.nats_url),
            "VALHALLA_NATS_OPERATOR_SEED": natsauth.operator_key(self.cell).seed,
            "VALHALLA_NATS_SYSTEM_CREDS": natsauth.system_creds(self.cell),
            "VALHALLA_CELL_KEY": (self.folder / "cell.key").read_text().strip(),
            "VALHALLA_POOL_SIZE": POOL,
            "VALHALLA_TEMPLATES_DIR": str(self._templates()),
            "VALHALLA_ACCESS_LOG": "false",
            "VALHALLA_LEASE": "PT2S",
            # nobody's things are swept at once: what is swept wrongly is noticed
            "VALHALLA_ORPHAN_GRACE": "PT0S",
            "VALHALLA_ARENA_SIZE": "60",
            "VALHALLA_MAX_SANDBOXES_PER_OWNER": "10000",
        }
        self.planes = [Plane(self.folder / f"plane-{name}", environment) for name in "ab"]
        for plane in self.planes:
            plane.start()
        self.key = (self.planes[0].data_dir / "admin.key").read_text().strip()

    def _templates(self) -> Path:
        """Write a template whose sandboxes have databases of their own."""
        apart = self.folder / "templates" / "apart"
        apart.mkdir(parents=True)
        (apart / "template.toml").write_text('isolation = "database"\n')
        (apart / "1.sql").write_text("CREATE TABLE goods (id int)")
        return apart.parent

    def http(self, random: Random) -> httpx.Client | None:
        """Return a client of one of the planes that serve now."""
        urls = [plane.url for plane in self.planes if plane.url is not None]
        if not urls:
            return None
        return httpx.Client(base_url=random.choice(urls), headers={"Authorization": f"Bearer {self.key}"}, timeout=30)

    def note(self, text: str) -> None:
        """Write a line for whoever has to understand a failure."""
        self.log.append(f"{time.monotonic() - self.began:8.3f} {text}")

    def harm(self, random: Random) -> None:
        """Do one of the things that happen to servers and processes."""
        names = sorted(self.stack.pids())
        kinds: list[tuple[str, Callable[[], Any]]] = [
            *((f"{plane.data_dir.name} killed", partial(self._replace, plane)) for plane in self.planes),
            ("plane-a stopped", partial(self._replace, self.planes[0], signal.SIGTERM)),
            *((f"{name} restarted", partial(self.stack.restart, name)) for name in names),
            *((f"{name} killed", partial(self._kill, name)) for name in names),
            *((f"{name} frozen", partial(self._freeze, name, random.uniform(0.5, 4))) for name in names),
        ]
        kind, do = random.choice(kinds)
        self.note(f"> {kind}")
        do()
        self.faults[kind] = self.faults.get(kind, 0) + 1
        self.note(f"< {kind}")

    def _replace(self, plane: Plane, number: signal.Signals = signal.SIGKILL) -> None:
        plane.kill(number)
        plane.start()

    def _kill(self, name: str) -> None:
        pid = self.stack.pids()[name]
        os.kill(pid, signal.SIGKILL)
        self.stack.restart(name)

    def _freeze(self, name: str, seconds: float) -> None:
        pids = [self.stack.pids()[name]]
        children = Path(f"/proc/{pids[0]}/task/{pids[0]}/children")
        pids += [int(pid) for pid in children.read_text().split()]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """End everything and remove the files."""
        for plane in self.planes:
            if plane.process is not None and plane.process.poll() is None:
                plane.process.kill()
                plane.process.wait(20)
        self.stack.stop()
        shutil.rmtree(self.folder)
