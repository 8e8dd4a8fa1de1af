"""How soon a scanner that touches three decoys is shut out of every process: two control planes, one database.

Counted from the moment in which the third decoy is asked for, to the first refusal at each process. Each scanner is a
new address, as a trusted proxy names it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx

from bench import plane
from bench.report import figure, publish

SCANNERS: Final = int(os.environ.get("BENCH_SCANNERS", "40"))
_DECOYS: Final = ("/.env", "/wp-login.php", "/.git/config")
_ROLE: Final = "valhalla_bench"
_LONGEST: Final = 20.0


def run() -> None:
    """Measure and publish."""
    with tempfile.TemporaryDirectory(prefix="valhalla-bench-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o711)
        _measure(folder)


def _measure(folder: Path) -> None:
    from valhalla.embedded import Stack
    from valhalla.kit import natsauth
    from valhalla.kit.cellkey import CellKey
    from valhalla.sandbox.slices.postgres import Bootstrap, bootstrap

    cell = CellKey.load_or_create(folder / "cell.key")
    stack = Stack(folder, cell, nats_operator=natsauth.trust(cell))
    started: list[Path] = []
    try:
        ends = stack.start()
        assert ends.postgres_superuser_url is not None
        asyncio.run(
            bootstrap(ends.postgres_superuser_url, Bootstrap(_ROLE, "secret", _ROLE, cell.cell), exclusive=True)
        )
        environment = {
            **os.environ,
            "VALHALLA_DATABASE_URL": f"postgresql://{_ROLE}:secret@127.0.0.1:{ends.postgres_port}/{_ROLE}",
            "VALHALLA_VALKEY_URL": str(ends.valkey_url),
            "VALHALLA_NATS_URL": str(ends.nats_url),
            "VALHALLA_NATS_OPERATOR_SEED": natsauth.operator_key(cell).seed,
            "VALHALLA_NATS_SYSTEM_CREDS": natsauth.system_creds(cell),
            "VALHALLA_CELL_KEY": (folder / "cell.key").read_text().strip(),
            "VALHALLA_TRUSTED_PROXIES": '["127.0.0.0/8"]',
        }
        for name in "ab":
            data_dir = folder / name
            command = [*plane.CLI, "--data-dir", str(data_dir), "up", "--detach", "-q"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            started.append(data_dir)
        time.sleep(2)
        taken = [_shut_out(started, f"203.0.113.{number}") for number in range(1, SCANNERS + 1)]
    finally:
        for data_dir in started:
            plane.down(data_dir)
        stack.stop()
    lines = [
        figure("the process that saw the third touch", "ms", [times[0] for times in taken], 100, tail=True),
        figure("the other process", "ms", [times[1] for times in taken], 100, tail=True),
    ]
    publish("Reaction: a scanner is shut out of every process", lines)


def _shut_out(planes: list[Path], address: str) -> list[float]:
    """Return the milliseconds until each process refused this scanner."""
    headers = {"X-Forwarded-For": address}
    with (
        httpx.Client(base_url=plane.control(planes[0])["url"], headers=headers, timeout=20) as first,
        httpx.Client(base_url=plane.control(planes[1])["url"], headers=headers, timeout=20) as second,
    ):
        for client in (first, second):
            assert client.get("/live").status_code == 200
        second.get(_DECOYS[1])
        first.get(_DECOYS[0])
        time.sleep(0.1)
        began = time.monotonic()
        first.get(_DECOYS[2])
        taken: dict[httpx.Client, float] = {}
        while len(taken) < 2:
            for client in (first, second):
                if client not in taken and client.get("/docs").status_code == 403:
                    taken[client] = (time.monotonic() - began) * 1000
            assert time.monotonic() - began < _LONGEST, "the scanner is still let in"
            time.sleep(0.002)
    return [taken[first], taken[second]]
