"""A Discord on this machine, for tests of bots: gateway and REST (docs/testing-discord.md)."""

from valhalla.testing.discord.calls import Call
from valhalla.testing.discord.fake import FakeDiscord
from valhalla.testing.discord.world import Interaction

__all__ = ["Call", "FakeDiscord", "Interaction"]
