"""``valhalla ingress discord``: what it refuses, and a whole life of it against a real control plane."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.background import call, data_dir, environment
from tests.cli.calling import PROGRAM, Result

from valhalla.testing.discord import FakeDiscord

Run = Callable[..., Result]

__all__ = ["data_dir"]


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)


def test_without_a_token_it_says_where_one_belongs(valhalla: Run) -> None:
    """And that no option takes it."""
    result = valhalla("ingress", "discord")

    assert result.code == 1
    assert "DISCORD_TOKEN" in result.err
    assert "--token-file" in result.err


def test_what_is_no_token_is_not_shown(valhalla: Run, tmp_path: Path) -> None:
    """A wrong file may hold another secret."""
    file = tmp_path / "token"
    file.write_text("first line\nsecond line\n")
    result = valhalla("ingress", "discord", "--token-file", str(file))

    assert result.code == 1
    assert "no bot token" in result.err
    assert "line" not in result.err


@pytest.mark.parametrize("only", ["", "x", "3-1", "1,,2", "-1", "0-99999"])
def test_shards_that_are_none_are_refused(valhalla: Run, only: str) -> None:
    """Numbers and ranges."""
    assert valhalla("ingress", "discord", f"--only={only}").code == 2


def test_an_intent_that_is_none_names_those_that_are(
    valhalla: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is connected."""
    monkeypatch.setenv("DISCORD_TOKEN", "token")
    result = valhalla("ingress", "discord", "--intents", "messages", "--json")

    assert (result.code, json.loads(result.err)["code"]) == (1, "invalid-request")
    assert "guild_messages" in result.err


# --- with real servers


async def events(data_dir: Path) -> list[dict[str, Any]]:
    """Return what the sandbox has."""
    return json.loads(await asyncio.to_thread(call, data_dir, "sandbox", "events", "bots", "--json"))["items"]


@asynccontextmanager
async def reading(data_dir: Path, discord: FakeDiscord, *words: str) -> AsyncGenerator[list[dict[str, Any]]]:
    """Run the command until the block ends; yields what it says."""
    command = [*PROGRAM, "--data-dir", str(data_dir), "ingress", "discord", "--json", "--intents", "all"]
    process = await asyncio.create_subprocess_exec(
        *command,
        *("--api", discord.api_url, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(DISCORD_TOKEN=f"Bot {discord.token}"),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[dict[str, Any]] = []
    try:
        await discord.connected(within=60)
        yield said
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 60)
    except BaseException:
        process.kill()
        raise
    assert process.returncode == 0, err
    assert discord.token.encode() not in out + err
    said.extend(json.loads(line) for line in out.decode().splitlines())


@pytest.mark.slow
async def test_a_linked_guilds_events_are_the_sandboxs_and_ctrl_c_loses_nothing(data_dir: Path) -> None:
    """From the link on; what happens while no client runs comes when the next one does."""
    async with FakeDiscord() as discord:
        linked, other = discord.guild("linked"), discord.guild("other")
        await asyncio.to_thread(call, data_dir, "sandbox", "new", "bots")
        async with reading(data_dir, discord):
            await asyncio.to_thread(call, data_dir, "sandbox", "link", "bots", f"discord.guild:{linked['id']}")
            await discord.message("one", guild=linked)
            await discord.message("not ours", guild=other)
        await discord.message("two", guild=linked)
        async with reading(data_dir, discord) as said:
            await discord.message("three", guild=linked)
            async with asyncio.timeout(60):
                while len(found := await events(data_dir)) < 3:
                    await asyncio.sleep(0.2)

    assert [each["data"]["content"] for each in found] == ["one", "two", "three"]
    assert [each["state"] for each in said if each["kind"] == "shard"] == ["connecting", "resuming", "live", "stopped"]
    assert said[-1]["kind"] == "end"
    assert (said[-1]["events"], said[-1]["stored"], said[-1]["resumes"]) == (2, 2, 1)


@pytest.mark.slow
async def test_a_token_that_discord_refuses_ends_it(data_dir: Path) -> None:
    """With what to do, and not with the token."""
    async with FakeDiscord(token="another") as discord:
        command = [*PROGRAM, "--data-dir", str(data_dir), "ingress", "discord", "--api", discord.api_url]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(DISCORD_TOKEN="refused-one")
        )
        _, err = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 1
    assert b"Discord does not take the bot token" in err
    assert b"developer portal" in err
    assert b"refused-one" not in err
