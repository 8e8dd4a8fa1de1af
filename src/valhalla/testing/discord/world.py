"""What this Discord knows: the bot, guilds, channels, messages, commands and interactions."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from valhalla.testing.discord import documents
from valhalla.testing.discord.documents import Doc, Snowflakes


@dataclass(slots=True)
class Interaction:
    """One interaction: what was asked, and what the bot answered."""

    document: Doc
    at: float = field(default_factory=time.monotonic)
    callback: Doc | None = None
    """What the bot posted to the interaction's callback: ``type`` and ``data``."""
    original: str | None = None
    """The id of the message that is the answer."""
    followups: list[Doc] = field(default_factory=list[Doc])
    _answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        """Its snowflake."""
        return self.document["id"]

    @property
    def token(self) -> str:
        """What answers it; no bot token is needed beside it."""
        return self.document["token"]

    async def answered(self, within: float = 3.0) -> Doc:
        """Wait until the bot has answered and return the callback; Discord itself waits 3 seconds.

        Raises:
            TimeoutError: it has not.
        """
        async with asyncio.timeout(within):
            await self._answered.wait()
        assert self.callback is not None
        return self.callback

    def answer(self, callback: Doc) -> None:
        """Take the bot's answer."""
        self.callback = callback
        self._answered.set()


class World:
    """Plain documents by id. Reading and changing them is up to the routes and to whoever tests."""

    def __init__(self) -> None:
        self.ids = Snowflakes()
        self.me = documents.user(self.ids.next(), "bot", bot=True)
        self.application_id: str = self.me["id"]
        self.users: dict[str, Doc] = {self.me["id"]: self.me}
        self.guilds: dict[str, Doc] = {}
        self.channels: dict[str, Doc] = {}
        self.messages: dict[str, dict[str, Doc]] = {}
        self.commands: dict[str | None, dict[str, Doc]] = {None: {}}
        """Application commands by guild; None holds the global ones."""
        self.interactions: dict[str, Interaction] = {}
        """By token."""

    def user(self, name: str) -> Doc:
        """Make a person."""
        made = documents.user(self.ids.next(), name)
        self.users[made["id"]] = made
        return made

    def person(self) -> Doc:
        """Return a person; there is always one."""
        return next((each for each in self.users.values() if not each["bot"]), None) or self.user("someone")

    def guild(self, name: str, guild_id: str, channels: Iterable[str]) -> Doc:
        """Make a guild that the bot and one person are in."""
        made = [documents.channel(self.ids.next(), guild_id, each, at) for at, each in enumerate(channels)]
        self.channels.update({each["id"]: each for each in made})
        self.guilds[guild_id] = documents.guild(guild_id, name, made, [self.me, self.person()])
        return self.guilds[guild_id]

    def direct(self, user: Doc) -> Doc:
        """Return the channel between the bot and a user."""
        for each in self.channels.values():
            if each["type"] == 1 and each["recipients"][0]["id"] == user["id"]:
                return each
        made = documents.direct_channel(self.ids.next(), user)
        self.channels[made["id"]] = made
        return made

    def message(self, channel_id: str, author: Doc, body: Doc) -> Doc:
        """Keep a message."""
        made = documents.message(self.ids.next(), channel_id, author, body)
        self.messages.setdefault(channel_id, {})[made["id"]] = made
        if channel_id in self.channels:
            self.channels[channel_id]["last_message_id"] = made["id"]
        return made

    def event_of(self, message: Doc) -> Doc:
        """Return a message as the gateway tells of it: with its guild and its author's membership."""
        guild_id = self.channels[message["channel_id"]].get("guild_id")
        if guild_id is None:
            return {**message, "channel_type": 1}
        return {**message, "guild_id": guild_id, "member": documents.member(message["author"])}

    def interaction(self, kind: int, data: Doc, channel: Doc, user: Doc, message: Doc | None = None) -> Interaction:
        """Make an interaction in a channel and keep it by its token."""
        guild_id = channel.get("guild_id")
        who: Doc = {"user": user}
        if guild_id is not None:
            membership = {**documents.member(user), "user": user, "permissions": documents.ALL_PERMISSIONS}
            who = {"member": membership, "guild_id": guild_id, "guild_locale": "en-US"}
        document: dict[str, Any] = {
            "id": self.ids.next(),
            "application_id": self.application_id,
            "type": kind,
            "token": secrets.token_urlsafe(32),
            "version": 1,
            "channel_id": channel["id"],
            "channel": channel,
            "data": data,
            "locale": "en-US",
            "app_permissions": documents.ALL_PERMISSIONS,
            "entitlements": [],
            "authorizing_integration_owners": {"0": guild_id or "0"},
            "context": 1 if guild_id is None else 0,
            "attachment_size_limit": 10_485_760,
            **who,
            **({} if message is None else {"message": message}),
        }
        made = self.interactions[document["token"]] = Interaction(document)
        return made
