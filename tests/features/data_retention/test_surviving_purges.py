"""A purge that is killed again and again: what is counted is what went."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time

import pytest
from tests.conftest import Servers
from tests.features.data_retention.conftest import Scene

from valhalla.kernel.principal import SYSTEM
from valhalla.kit.relations import Condition

pytestmark = pytest.mark.slow
ROWS = 60_000


async def test_a_killed_purge_goes_on_and_its_proof_counts_every_row_once(scene: Scene, servers: Servers) -> None:
    await scene.db.run(
        lambda conn: conn.exec_driver_sql(
            "INSERT INTO valhalla.events (uid, subject, type, data, at, sent_at) SELECT 'u' || n, 'bulk.' || n % 10,"
            " 'test', '{}', timestamptz '2026-01-01Z', timestamptz '2026-01-01Z' + make_interval(secs => n)"
            f" FROM generate_series(1, {ROWS}) AS n"
        )
    )
    await scene.policy("events", days=7, max_share=1.0)
    await scene.hold("case", "events", Condition("subject", "eq", "bulk.3"))
    asked = await scene.service.request(SYSTEM, "events", reason="test")
    assert asked.purge is not None
    key = (servers.data_dir / "cell.key").read_text().strip()
    command = [sys.executable, "-W", "ignore", "-m", "tests.features.data_retention.purging"]

    kills, ends = 0, time.monotonic() + 90
    while True:
        assert time.monotonic() < ends
        process = subprocess.Popen(
            [*command, scene.db.dsn, key, str(scene.folder), asked.purge.id],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.2 + 0.4 * kills)
        if process.returncode is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        found = await scene.service.get(SYSTEM, asked.purge.id)
        assert found.rows + len(await scene.left()) == ROWS
    assert process.stdout is not None
    # the last kill may have met the end of a process that was done
    assert process.stdout.read() in ("succeeded\n", "over\n")

    done = await scene.service.get(SYSTEM, asked.purge.id)
    assert (done.status, done.rows, done.held) == ("succeeded", ROWS * 9 // 10, ROWS // 10)
    assert set(await scene.left()) == {"bulk.3"}
    entries = (await scene.db.read(scene.ledger.page, kind="retention", subject=done.id)).items
    assert [entry.details["rows"] for entry in entries if entry.action == "purged"] == [ROWS * 9 // 10]
