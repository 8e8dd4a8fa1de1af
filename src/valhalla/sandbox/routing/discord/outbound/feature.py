"""Bots of sandboxes as the composition root sees them. The lock itself is a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from valhalla.features.contracts import Feature, Platform
from valhalla.sandbox.routing.discord.outbound.service import BotTokens

if TYPE_CHECKING:
    from fastapi import APIRouter

    from valhalla.sandbox.service import SandboxService


class DiscordBots(Feature):
    """Tokens of sandboxes' bots."""

    name: ClassVar[str] = "discord-bots"

    def __init__(self, platform: Platform, sandboxes: Callable[[], SandboxService]) -> None:
        """Build it; nothing is stored. ``sandboxes`` are asked for when somebody asks, for they are composed later."""
        self.tokens = BotTokens(platform.cell, sandboxes)

    def routers(self) -> Sequence[APIRouter]:
        """Return its route."""
        from valhalla.sandbox.routing.discord.outbound.api import router

        return (router(self.tokens),)
