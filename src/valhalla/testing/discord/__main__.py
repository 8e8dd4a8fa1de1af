"""``python -m valhalla.testing.discord``: a Discord for bots in any language, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys

from valhalla.testing.discord.fake import FakeDiscord


async def _run(port: int, guilds: int, shards: int, token: str) -> None:
    async with FakeDiscord(token=token, port=port) as discord:
        discord.gateway.shards = shards
        made = [discord.guild(f"guild {number}", shard=number % shards) for number in range(guilds)]
        found = {
            "api": discord.api_url,
            "gateway": discord.gateway_url,
            "token": discord.token,
            "guilds": [{"id": each["id"], "channel": each["channels"][0]["id"]} for each in made],
        }
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m valhalla.testing.discord", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of 127.0.0.1 (default: a free one)")
    parser.add_argument("--guilds", type=int, default=1, help="how many guilds the bot is in")
    parser.add_argument("--shards", type=int, default=1, help="how many shards are recommended")
    parser.add_argument("--token", default="fake-token", help="the bot token that it takes")
    said = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(said.port, said.guilds, said.shards, said.token))


if __name__ == "__main__":
    main()
