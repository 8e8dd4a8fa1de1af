"""The process of ``valhalla ingress discord``: it reads Discord's gateway without the control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from valhalla.sandbox.routing.discord.gateway import Gateway, Options
from valhalla.sandbox.routing.discord.gateway.metrics import GatewayMetrics
from valhalla.sandbox.routing.discord.gateway.shard import Shard
from valhalla.server.beside import Beside, measured, run, until_signalled
from valhalla.server.options import ServeOptions

Tell = Callable[[dict[str, Any]], None]
"""Gets a document whenever something is worth telling: ``kind`` is ``shard``, ``status`` or ``end``."""

_STATUS: Final = 60.0


def read(options: ServeOptions, wanted: Options, tell: Tell, *, metrics: tuple[str, int] | None = None) -> int:
    """Read until SIGINT or SIGTERM; then what was read is stored and sessions are left so that they can be resumed.

    ``metrics`` is where Prometheus may ask. Sessions are kept in the data directory unless ``wanted`` says where.

    Raises:
        Problem: Discord refuses for ever, another process reads a shard, or NATS cannot be reached.
    """
    beside = Beside.of(options)
    if wanted.keep is None:
        wanted = replace(wanted, keep=beside.settings.data_dir.resolve() / "discord")
    return run(_main(beside, wanted, tell, metrics))


async def _main(beside: Beside, wanted: Options, tell: Tell, metrics: tuple[str, int] | None) -> None:
    def changed(shard: Shard) -> None:
        tell(
            {
                "kind": "shard",
                "shard": shard.number,
                "of": shard.identity.shards,
                "state": shard.state,
                "why": shard.why,
                "identifies": shard.counts.identifies,
                "resumes": shard.counts.resumes,
                "events": shard.counts.events,
            }
        )

    ingress, stop = beside.ingress("discord"), until_signalled()
    gateway = Gateway(wanted, ingress, changed=changed)
    saying = asyncio.create_task(_say(gateway, tell))
    try:
        with measured(GatewayMetrics(gateway, ingress), metrics):
            await ingress.start()
            await gateway.run(stop)
    finally:
        saying.cancel()
        await ingress.stop(patience=0)
        tell({"kind": "end", **gateway.document()})


async def _say(gateway: Gateway, tell: Tell) -> None:
    while True:
        await asyncio.sleep(_STATUS)
        tell({"kind": "status", **gateway.document()})
