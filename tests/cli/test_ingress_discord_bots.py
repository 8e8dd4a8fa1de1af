"""Unchanged bots at ``valhalla ingress discord-api``, a sandbox's and the real one, which is killed under them."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.cli.calling import PROGRAM
from tests.cli.test_ingress_discord_api import call, environment

from valhalla.testing.discord import FakeDiscord

pytestmark = pytest.mark.slow
PROGRAM_OF_BOT = Path(__file__).parent / "unchanged_bot.py"


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A control plane in the background."""
    folder = Path(tempfile.mkdtemp(prefix="vh-cli-"))
    folder.chmod(0o711)
    try:
        call(folder / "data", "up", "--detach")
        yield folder / "data"
    finally:
        call(folder / "data", "down")
        shutil.rmtree(folder)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Bot:
    """A process that runs the program as it is; ``lines`` is what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().strip())

    @property
    def seen(self) -> list[str]:
        return [line.removeprefix("seen ") for line in self.lines if line.startswith("seen ")]

    async def prints(self, line: str, seconds: float = 120) -> None:
        async with asyncio.timeout(seconds):
            while line not in self.lines:
                assert self.process.returncode is None
                await asyncio.sleep(0.05)


@asynccontextmanager
async def started(*words: str, **more: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(**more)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def bot(port: int, token: str) -> AsyncGenerator[Bot]:
    words = (sys.executable, "-m", "valhalla.sdk.discord_bot", str(PROGRAM_OF_BOT))
    async with started(*words, VALHALLA_DISCORD=f"http://127.0.0.1:{port}", DISCORD_TOKEN=token) as process:
        made = Bot(process)
        reading = asyncio.create_task(made.read())
        yield made
        reading.cancel()


async def listening(stack: AsyncExitStack, data_dir: Path, fake: FakeDiscord, port: int) -> asyncio.subprocess.Process:
    words = ("ingress", "discord-api", "--json", "--production", "--listen", f"127.0.0.1:{port}", "--api", fake.api_url)
    command = started(*PROGRAM, "--data-dir", str(data_dir), *words, DISCORD_TOKEN=fake.token)
    process = await stack.enter_async_context(command)
    assert process.stdout is not None
    said = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    assert said["kind"] == "listening"
    return process


@pytest.mark.timeout(600)
async def test_bots_resume_over_kill_9_without_loss_or_doubles(data_dir: Path) -> None:
    """Both are discord.py as it comes; each sees its own guilds, every message once, in order."""
    port = free_port()
    reader = ("ingress", "discord", "--json", "--intents", "all")
    async with FakeDiscord() as fake, AsyncExitStack() as stack:
        home, other = fake.guild("home"), fake.guild("other")
        command = (*PROGRAM, "--data-dir", str(data_dir), *reader, "--api", fake.api_url)
        await stack.enter_async_context(started(*command, DISCORD_TOKEN=fake.token))
        await fake.connected(within=60)
        await asyncio.to_thread(call, data_dir, "sandbox", "new", "bots")
        await asyncio.to_thread(call, data_dir, "sandbox", "link", "bots", f"discord.guild:{home['id']}")
        token = (await asyncio.to_thread(call, data_dir, "sandbox", "discord-token", "bots")).strip()
        process = await listening(stack, data_dir, fake, port)
        mine = await stack.enter_async_context(bot(port, token))
        real = await stack.enter_async_context(bot(port, fake.token))
        await mine.prints("ready")
        await real.prints("ready")
        written: dict[str, list[str]] = {"home": [], "other": []}

        async def write() -> None:
            for number in range(400):
                for guild in (home, other):
                    text = f"{guild['name']} {number}"
                    await fake.message(text, guild=guild)
                    written[guild["name"]].append(text)
                await asyncio.sleep(0.03)

        writing = asyncio.create_task(write())
        for _ in range(2):
            await asyncio.sleep(2)
            resumed = [len(each.lines) for each in (mine, real)]
            process.send_signal(signal.SIGKILL)
            await process.wait()
            process = await listening(stack, data_dir, fake, port)
            async with asyncio.timeout(120):
                while "resumed" not in mine.lines[resumed[0] :] or "resumed" not in real.lines[resumed[1] :]:
                    await asyncio.sleep(0.05)
        await writing
        await mine.prints(f"seen {written['home'][-1]}")
        await real.prints(f"seen {written['other'][-1]}")
        await fake.message("hi", guild=home)
        answer = await fake.called("POST", f"/channels/{home['channels'][0]['id']}/messages", within=30)
        counts = [(each.lines.count("ready"), each.lines.count("resumed") >= 2) for each in (mine, real)]

    assert mine.seen[:-1] == written["home"]
    assert real.seen == written["other"]
    assert counts == [(1, True)] * 2
    assert answer.body["content"] == "hello from home"
    assert answer.token == fake.token
