"""``valhalla ingress discord-api`` and ``valhalla sandbox discord-token``: a life of both."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.cli.background import call, data_dir, environment
from tests.cli.calling import PROGRAM, Result

from valhalla.testing.discord import FakeDiscord

__all__ = ["data_dir"]


def test_without_a_token_it_says_where_one_belongs(
    valhalla: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the gateway's reader does."""
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    result = valhalla("ingress", "discord-api")

    assert result.code == 1
    assert "DISCORD_TOKEN" in result.err


@pytest.mark.slow
async def test_a_bot_writes_through_it_until_it_ends(data_dir: Path) -> None:
    """With the token that the owner is shown, in the guild that is linked; the ledger knows it afterwards."""
    async with FakeDiscord() as fake:
        home, other = fake.guild("home"), fake.guild("other")
        words = [*PROGRAM, "--data-dir", str(data_dir), "ingress", "discord-api", "--json", "--api", fake.api_url]
        process = await asyncio.create_subprocess_exec(
            *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(DISCORD_TOKEN=fake.token)
        )
        assert process.stdout is not None
        try:
            said: dict[str, Any] = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
            await asyncio.to_thread(call, data_dir, "sandbox", "new", "bots")
            await asyncio.to_thread(call, data_dir, "sandbox", "link", "bots", f"discord.guild:{home['id']}")
            token = (await asyncio.to_thread(call, data_dir, "sandbox", "discord-token", "bots")).strip()
            base = f"http://127.0.0.1:{said['port']}/api/v10"
            async with aiohttp.ClientSession(headers={"Authorization": f"Bot {token}"}) as http:
                for guild in (home, other):
                    path = f"/channels/{guild['channels'][0]['id']}/messages"
                    async with http.post(base + path, json={"content": "x"}) as answer:
                        assert answer.status == 200
            process.send_signal(signal.SIGINT)
            out, err = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        ended = json.loads(out.splitlines()[-1])
        sent = [call.path for call in fake.calls if call.method == "POST"]

    assert said["kind"] == "listening"
    assert process.returncode == 0, err
    assert (ended["kind"], ended["passed"], ended["pretended"]) == ("end", 1, 1)
    assert sent == [f"/channels/{home['channels'][0]['id']}/messages"]
    assert fake.token.encode() not in out + err
    audit = await asyncio.to_thread(call, data_dir, "sandbox", "audit", "bots", "--json")
    assert "discord.pretended" in audit
