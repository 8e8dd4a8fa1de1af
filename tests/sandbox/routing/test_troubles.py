"""An ingress that is cut off or frozen while a claim changes, and streams that are full: never split, nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.isolation.conftest import NatsProcess
from tests.sandbox.routing.conftest import event
from tests.sandbox.routing.networks import Network, why_not

from valhalla.kernel.ids import new_id
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import envelope, streams
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import STREAM, Received, Sizes, Terms
from valhalla.sandbox.routing.errors import ClaimRefused, EventsFull
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.lanes import find_message
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.slices.nats_admin import NatsAdmin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
KEY = "s0-0"
_NETWORKS = why_not()


@dataclass
class World:
    """A server of its own with the streams, and whoever claims."""

    server: NatsProcess
    creds: str
    admin: NatsAdmin
    link: Link
    folder: Path

    def claims(self, *, kicks: bool = True, barrier: float = 0.3) -> Claims:
        return Claims(self.server.url, self.creds, self.admin.close_connection if kicks else _no_kick, barrier=barrier)

    async def stored(self) -> list[Received]:
        """Return every event of the stream in order."""
        found: list[Received] = []
        at = 0
        while (message := await find_message(self.link, STREAM, "ev.>", sequence=at + 1)) is not None:
            subject, at, block, body, stored_at = message
            found.append(envelope.read(subject, envelope.read_block(block), body, sequence=at, stored_at=stored_at))
        return found

    async def until(self, count: int) -> None:
        """Wait until so many events are stored."""
        async with asyncio.timeout(60):
            while int((await self.link.api(f"STREAM.INFO.{STREAM}"))["state"]["messages"]) < count:
                await asyncio.sleep(0.02)


async def _no_kick(server: str, cid: int) -> bool:
    return False


@asynccontextmanager
async def world(folder: Path, sizes: Sizes | None = None, **settings: Any) -> AsyncGenerator[World]:
    (folder / "nats").mkdir()
    server = NatsProcess(folder / "nats", CellKey.parse("t" * 43))
    server.settings = {name: value.format(port=server.port) for name, value in settings.items()}
    server.start()
    creds = natsauth.control_creds(server.cell)
    (folder / "control.creds").write_text(creds)
    admin = NatsAdmin(server.url, natsauth.operator_key(server.cell), natsauth.system_creds(server.cell), timeout=2)
    link = await Link.open(server.url, creds, name="tests")
    try:
        await streams.ensure(link, sizes or Sizes())
        yield World(server, creds, admin, link, folder)
    finally:
        await link.close()
        await admin.close()
        server.stop()


@contextlib.contextmanager
def worker(here: World, url: str, wrap: Callable[[list[str]], list[str]], count: int) -> Any:
    """An ingress in a process of its own that publishes 500 events of one key per second."""
    spec = {"url": url, "creds": str(here.folder / "control.creds"), "shard": 0, "count": count, "keys": 1, "rate": 500}
    command = [sys.executable, str(Path(__file__).with_name("ingress_worker.py"))]
    spec["mark"] = str(here.folder / "mark")
    process = subprocess.Popen(wrap([*command, json.dumps(spec)]))
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


async def claim(claims: Claims, sandbox: str, **terms: Any) -> Any:
    async def owns() -> bool:
        return True

    until = datetime.now(UTC) + timedelta(hours=1)
    return await claims.establish("tenant", KEY, sandbox, until=until, terms=Terms(**terms), owns=owns)


def judge(stored: list[Received], count: int, sandbox: str | None, held: datetime) -> None:
    """Everything once and in order, and nothing of production's after the claim held."""
    assert [json.loads(one.event.data)["n"] for one in stored] == list(range(count))
    late = [one for one in stored if one.sandbox != sandbox and one.stored_at is not None and one.stored_at > held]
    assert not late, f"{len(late)} on the wrong side, {late[0].stored_at} after {held}"
    assert {one.sandbox for one in stored} == {None, sandbox}


async def troubled(
    here: World,
    claims: Claims,
    process: subprocess.Popen[bytes],
    *,
    begin: Callable[[], None],
    end: Callable[[], None],
    count: int,
    refuse: bool = False,
) -> None:
    """Claim while the ingress is in trouble, let it go on, and judge."""
    sandbox = new_id()
    await here.until(300)
    begin()
    # it has a moment to write what nobody reads
    await asyncio.sleep(0.1)
    if refuse:
        with pytest.raises(ClaimRefused):
            await claim(claims, sandbox, laggards="refuse")
        owner = None
    else:
        claimed = await claim(claims, sandbox)
        assert len(claimed.fenced) == 1
        owner = sandbox
    held = datetime.now(UTC)
    await asyncio.sleep(0.7)
    end()
    async with asyncio.timeout(60):
        assert await asyncio.to_thread(process.wait) == 0
    judge(await here.stored(), count, owner, held)


@pytest.mark.skipif(_NETWORKS is not None, reason=str(_NETWORKS))
@pytest.mark.parametrize("way", ["fence", "lease", "refuse"])
async def test_an_ingress_is_cut_off_while_a_claim_changes(tmp_path: Path, way: str) -> None:
    """The claim holds when it returns, or nothing has moved; what was on its way in the cut network comes nowhere.

    ``lease``: the server cannot be asked to close its connection.
    """
    tmp_path.chmod(0o755)
    with Network() as network:
        async with world(tmp_path, listen="0.0.0.0:{port}") as here:
            claims = here.claims(kicks=way != "lease")
            with worker(here, f"nats://{network.here}:{here.server.port}", network.wrap, 2000) as process:
                await troubled(
                    here, claims, process, begin=network.cut, end=network.heal, count=2000, refuse=way == "refuse"
                )
            await claims.close()


def _unsent(pid: int, port: int) -> list[str]:
    """Return the sockets to a port in a process's network whose bytes the kernel would still send."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[2].endswith(f":{port:04X}") and not row[4].startswith("0" * 8)]


@pytest.mark.skipif(_NETWORKS is not None, reason=str(_NETWORKS))
async def test_what_was_written_into_a_cut_network_comes_nowhere(tmp_path: Path) -> None:
    """The kernel would send it again when the network is back, long after its process knew that it may not."""
    tmp_path.chmod(0o755)
    with Network() as network:
        async with world(tmp_path, listen="0.0.0.0:{port}") as here:
            claims, sandbox = here.claims(kicks=False), new_id()
            with worker(here, f"nats://{network.here}:{here.server.port}", network.wrap, 2000) as process:
                await here.until(300)
                network.cut()
                await claim(claims, sandbox)
                before = await here.stored()
                # it has given up its connection by now, and does not make another
                process.send_signal(signal.SIGSTOP)
                assert _unsent(process.pid, here.server.port) == []
                network.heal()
                await asyncio.sleep(4)
                assert len(await here.stored()) == len(before)
            await claims.close()


@pytest.mark.parametrize("way", ["fence", "lease", "refuse"])
async def test_an_ingress_is_frozen_while_a_claim_changes(tmp_path: Path, way: str) -> None:
    """It wakes up on the old routes and sends nothing by them."""
    async with world(tmp_path) as here:
        claims = here.claims(kicks=way != "lease")
        with worker(here, here.server.url, lambda command: command, 2000) as process:
            await troubled(
                here,
                claims,
                process,
                begin=lambda: process.send_signal(signal.SIGSTOP),
                end=lambda: process.send_signal(signal.SIGCONT),
                count=2000,
                refuse=way == "refuse",
            )
        await claims.close()


async def test_full_streams_refuse_and_lose_nothing(tmp_path: Path) -> None:
    """Publishers are told, everything acknowledged is there, and with room again what waited is stored in order."""
    async with world(tmp_path, Sizes(max_bytes=2**20, when_full="refuse")) as here:
        ingress = Ingress(here.server.url, here.creds, name="full", spool=50)
        await ingress.start()
        stored: list[int] = []
        with contextlib.suppress(EventsFull):
            for number in range(1000):
                await ingress.publish(event("k", number, data=b"%6d" % number * 2000))
                stored.append(number)
        assert len(stored) < 1000
        assert [int(one.event.data[:6]) for one in await here.stored()] == stored
        assert len(stored) > 50
        # a claim needs none of this room
        claims = here.claims()
        await claim(claims, new_id())
        await claims.close()

        waiting = list(range(2000, 2010))
        for number in waiting:
            await ingress.post(event("k", number, data=b"%6d" % number * 2000))
        with pytest.raises(EventsFull):
            await ingress.flush(within=0.5)
        posted = 0
        with contextlib.suppress(EventsFull):
            for number in range(3000, 3100):
                ingress.outgoing.post(event("k", number))
                posted += 1
        assert posted < 100
        await here.link.api(f"STREAM.PURGE.{STREAM}", {"keep": 10})
        await ingress.flush(within=10)
        found = [int(one.event.data[:6]) for one in await here.stored()]
        assert found[: 10 + len(waiting)] == [*stored[-10:], *waiting]
        assert (await ingress.publish(event("k", 5000))).sequence > 0
        await ingress.stop()


async def test_full_streams_let_the_oldest_go(tmp_path: Path) -> None:
    """The other setting: publishers are never refused."""
    async with world(tmp_path, Sizes(max_bytes=2**20)) as here:
        ingress = Ingress(here.server.url, here.creds, name="full")
        await ingress.start()
        started = time.monotonic()
        for number in range(200):
            await ingress.publish(event("k", number, data=b"%6d" % number * 2000))
        await ingress.stop()
        found = [int(one.event.data[:6]) for one in await here.stored()]
        assert found == list(range(200 - len(found), 200)), time.monotonic() - started
        assert 50 < len(found) < 200
