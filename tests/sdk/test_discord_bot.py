"""Running a program with discord.py against another Discord than the real one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from valhalla.sdk import discord_bot


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are discord.py's again after the test."""
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)


@pytest.mark.parametrize(
    ("url", "base", "gateway"),
    [
        ("http://127.0.0.1:8082", "http://127.0.0.1:8082/api/v10", "ws://127.0.0.1:8082/"),
        ("https://bots.example.com/api", "https://bots.example.com/api/v10", "wss://bots.example.com/"),
    ],
    ids=["plain", "tls"],
)
def test_discord_py_is_pointed_at_both_of_its_addresses(url: str, base: str, gateway: str) -> None:
    discord_bot.point(url)

    assert base == Route.BASE
    assert str(DiscordWebSocket.DEFAULT_GATEWAY) == gateway


@pytest.mark.parametrize("words", [[], ["-m"], ["bot.py"]], ids=["nothing", "no-module", "no-address"])
def test_what_is_missing_is_said(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["discord_bot", *words])
    monkeypatch.setenv(discord_bot.VARIABLE, "" if words == ["bot.py"] else "http://127.0.0.1:1")
    with pytest.raises(SystemExit) as caught:
        discord_bot.main()

    assert caught.value.code == 2
    assert "usage: VALHALLA_DISCORD=" in capsys.readouterr().err


def test_a_wrong_address_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["discord_bot", "bot.py"])
    monkeypatch.setenv(discord_bot.VARIABLE, "ws://127.0.0.1:1")
    with pytest.raises(SystemExit):
        discord_bot.main()

    assert "'ws://127.0.0.1:1' is not like http://127.0.0.1:8082" in capsys.readouterr().err


def test_the_program_runs_as_by_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With its own arguments and what lies beside it."""
    (tmp_path / "beside_it_xyz.py").write_text("NAME = 'beside'")
    program = tmp_path / "bot.py"
    program.write_text("import sys, beside_it_xyz\nprint(__name__, sys.argv[1:], beside_it_xyz.NAME)")
    monkeypatch.setattr(sys, "argv", ["discord_bot", str(program), "--x"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(discord_bot.VARIABLE, "http://127.0.0.1:1")
    discord_bot.main()

    assert capsys.readouterr().out == "__main__ ['--x'] beside\n"
