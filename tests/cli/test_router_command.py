"""``valhalla router`` as users start and stop it, against a real control plane."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import RawCredentials
from tests.cli.calling import PROGRAM, Result, call

pytestmark = pytest.mark.slow


async def publish(creds: dict[str, Any], count: int) -> list[bytes]:
    """Publish as a program would, and return what production hears in the same account."""
    client = await nats.connect(creds["url"], user_credentials=RawCredentials(creds["creds"]))
    heard = await client.subscribe("ev.p.payer.*.*")
    await client.flush()
    # interest across accounts is known a moment later
    await asyncio.sleep(0.2)
    for number in range(count):
        await client.jetstream().publish("pay.acme", b"%d" % number)
    found = [(await heard.next_msg(timeout=10)).data for _ in range(count)]
    await client.close()
    return found


async def test_a_router_moves_events_until_it_is_interrupted(up: tuple[Path, Result], tmp_path: Path) -> None:
    """It says what it moves, and how much it was; a source that is not routed is refused before anything starts."""
    data_dir, _ = up
    refused = call(data_dir, "router", "pay", "--json")
    assert refused.code == 1
    assert "way=router" in refused.err
    made = call(data_dir, "source", "new", "pay", "pay.{key}", "--kind", "payer", "--way", "router", "--account", "pay")
    assert (made.code, made.out) == (0, "pay\n"), made.err
    env = {name: value for name, value in os.environ.items() if not name.startswith("VALHALLA_")}
    command = [*PROGRAM, "--data-dir", str(data_dir), "router", "pay"]
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env)
    try:
        async with asyncio.timeout(30):
            while "Router moves pay" not in (tmp_path / "out").read_text():
                await asyncio.sleep(0.05)
        creds = json.loads(call(data_dir, "source", "creds", "pay", "--role", "account", "--json").out)
        client = await nats.connect(creds["url"], user_credentials=RawCredentials(creds["creds"]))
        async with asyncio.timeout(30):
            while "VH_HOP_pay" not in [one.config.name for one in await client.jetstream().streams_info()]:
                await asyncio.sleep(0.05)
        await client.close()
        assert await publish(creds, 20) == [b"%d" % number for number in range(20)]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
    assert "it has moved 20 events" in (tmp_path / "out").read_text()
