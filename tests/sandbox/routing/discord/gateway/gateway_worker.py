"""A gateway client in a process of its own, which may be killed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from pydantic import SecretStr

from valhalla.sandbox.routing.discord.gateway import Gateway, Options
from valhalla.sandbox.routing.discord.gateway.intents import parse
from valhalla.sandbox.routing.discord.gateway.pace import Pace
from valhalla.sandbox.routing.ingress import Ingress


async def main(spec: dict[str, str]) -> None:
    """Read until SIGTERM."""
    ingress = Ingress(spec["url"], Path(spec["creds"]).read_text(), name="discord")
    await ingress.start(wait=60)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options = Options(SecretStr(spec["token"]), api=spec["api"], intents=parse("all"), keep=Path(spec["keep"]))
    pace = Pace(base=0.05, again=0.2, anew=0.2, keeping=0.05, identify_every=0.05)
    await Gateway(options, ingress, pace=pace).run(stop)
    await ingress.stop()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
