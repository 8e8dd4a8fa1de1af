"""Which guild a channel is of: asked from Discord once, and remembered for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

from valhalla.sandbox.routing.discord.outbound.pacing import Pacer
from valhalla.sandbox.routing.discord.outbound.upstream import Upstream, document

_MOST: Final = 50_000
# a channel never moves to another guild; one that was deleted is asked for again
_FRESH: Final = 3_600.0
_UNKNOWN: Final = 30.0


class Channels:
    """Guilds by channel; bounded."""

    def __init__(self, upstream: Upstream, pacer: Pacer) -> None:
        self._upstream = upstream
        self._pacer = pacer
        self._known: OrderedDict[str, tuple[str | None, float]] = OrderedDict()

    def note(self, channel: str, guild: str) -> None:
        """Remember what an answer has said."""
        self._keep(channel, guild, _FRESH)

    async def guild(self, channel: str, sandbox: str) -> str | None:
        """Return the guild of a channel; None for one of nobody that is known: a direct message, or none at all.

        Raises:
            TooMany, NotSent, Unanswered: Discord cannot be asked now.
        """
        found = self._known.get(channel)
        if found is not None and found[1] > time.monotonic():
            self._known.move_to_end(channel)
            return found[0]
        bucket = f"GET/channels/{channel}"
        await self._pacer.turn(sandbox, bucket)
        reply = await self._upstream.send("GET", f"/channels/{channel}")
        self._pacer.learn(sandbox, bucket, reply.status, reply.headers)
        said = document(reply) if reply.status == 200 else None
        guild = said.get("guild_id") if isinstance(said, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        named = guild if isinstance(guild, str) else None
        if reply.status in (200, 403, 404):
            self._keep(channel, named, _FRESH if named else _UNKNOWN)
        return named

    def _keep(self, channel: str, guild: str | None, seconds: float) -> None:
        if len(self._known) >= _MOST and channel not in self._known:
            self._known.popitem(last=False)
        self._known[channel] = guild, time.monotonic() + seconds
