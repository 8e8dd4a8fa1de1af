"""``python -m valhalla.sdk.discord_bot bot.py``: run a program with discord.py as it is, in a sandbox's Discord.

What it asks of Discord goes to ``valhalla ingress discord-api``, whose address ``VALHALLA_DISCORD`` holds. Nothing of
discord.py is changed but two addresses; programs that would rather say so themselves call ``point``.
"""

from __future__ import annotations

import os
import runpy
import sys
from typing import Final
from urllib.parse import urlsplit

VARIABLE: Final = "VALHALLA_DISCORD"
_USAGE: Final = (
    f"usage: {VARIABLE}=http://HOST:PORT python -m valhalla.sdk.discord_bot (FILE | -m MODULE) [ARGUMENT…]\n"
)


def point(url: str) -> None:
    """Let discord.py of this process use the Discord at ``url``, such as ``http://127.0.0.1:8082``.

    Raises:
        ValueError: it is no such address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not like http://127.0.0.1:8082")
    from discord.gateway import DiscordWebSocket
    from discord.http import Route
    from yarl import URL

    Route.BASE = f"{parts.scheme}://{parts.netloc}/api/v10"
    DiscordWebSocket.DEFAULT_GATEWAY = URL(f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}/")


def main() -> None:
    """Read the arguments, point discord.py, and run the program as ``python`` would."""
    words = sys.argv[1:]
    url = os.environ.get(VARIABLE, "")
    if not url or not words or words == ["-m"]:
        sys.stderr.write(_USAGE)
        raise SystemExit(2)
    try:
        point(url)
    except ValueError as error:
        sys.stderr.write(f"{VARIABLE}: {error}\n")
        raise SystemExit(2) from None
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path[0] = os.path.dirname(os.path.abspath(words[0]))  # noqa: PTH100, PTH120 - as python itself does
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main()
