"""The gateway client: one connection per shard, whose events an ingress puts on their lanes."""

from valhalla.sandbox.routing.discord.gateway.reading import Gateway, Options

__all__ = ["Gateway", "Options"]
