"""The JSON of Discord's objects, as far as clients insist on their members. Every id is a snowflake in a string."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

Doc = dict[str, Any]
"""One object as it is on the wire."""

_EPOCH: Final = 1_420_070_400_000
ALL_PERMISSIONS: Final = str((1 << 50) - 1)


class Snowflakes:
    """Makes ids: milliseconds since 2015 above a counter, so that they grow and ``id >> 22`` shards them."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> str:
        """Return an id that is larger than all before."""
        self._last = max(self._last + 1, (time.time_ns() // 1_000_000 - _EPOCH) << 22)
        return str(self._last)

    def next_of_shard(self, shard: int, shards: int) -> str:
        """Return an id whose guild lives on this shard."""
        # two of one millisecond would be the same guild
        number = (int(self.next()) >> 22) + 1
        number += (shard - number) % shards
        self._last = number << 22
        return str(self._last)


def now() -> str:
    """Return the present time as Discord writes it."""
    return datetime.now(UTC).isoformat()


def user(user_id: str, name: str, *, bot: bool = False) -> Doc:
    """Return a user."""
    return {
        "id": user_id,
        "username": name,
        "global_name": name,
        "discriminator": "0",
        "avatar": None,
        "bot": bot,
        "public_flags": 0,
        "flags": 0,
    }


def member(of: Mapping[str, Any]) -> Doc:
    """Return the membership of a user, without the user."""
    return {
        "nick": None,
        "roles": [],
        "joined_at": "2020-01-01T00:00:00+00:00",
        "deaf": False,
        "mute": False,
        "flags": 0,
        "pending": False,
        "communication_disabled_until": None,
        "avatar": of.get("avatar"),
        "premium_since": None,
    }


def channel(channel_id: str, guild_id: str, name: str, position: int) -> Doc:
    """Return a text channel of a guild."""
    return {
        "id": channel_id,
        "guild_id": guild_id,
        "type": 0,
        "name": name,
        "position": position,
        "permission_overwrites": [],
        "parent_id": None,
        "topic": None,
        "nsfw": False,
        "rate_limit_per_user": 0,
        "last_message_id": None,
    }


def direct_channel(channel_id: str, recipient: Doc) -> Doc:
    """Return a channel between the bot and one user."""
    return {"id": channel_id, "type": 1, "recipients": [recipient], "last_message_id": None, "flags": 0}


def guild(guild_id: str, name: str, channels: list[Doc], members: Iterable[Doc]) -> Doc:
    """Return a guild with everybody's role; ``members`` are users."""
    everybody = {
        "id": guild_id,
        "name": "@everyone",
        "permissions": ALL_PERMISSIONS,
        "position": 0,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }
    joined = [{**member(each), "user": each} for each in members]
    return {
        "id": guild_id,
        "name": name,
        "icon": None,
        "owner_id": joined[-1]["user"]["id"],
        "roles": [everybody],
        "channels": channels,
        "members": joined,
        "member_count": len(joined),
        "emojis": [],
        "stickers": [],
        "features": [],
        "threads": [],
        "presences": [],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "nsfw_level": 0,
        "premium_tier": 0,
        "preferred_locale": "en-US",
        "afk_timeout": 300,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "large": False,
        "unavailable": False,
        "joined_at": "2020-01-01T00:00:00+00:00",
    }


def attachment(attachment_id: str, channel_id: str, name: str, size: int) -> Doc:
    """Return a file of a message."""
    url = f"https://cdn.discordapp.com/attachments/{channel_id}/{attachment_id}/{name}"
    return {"id": attachment_id, "filename": name, "size": size, "url": url, "proxy_url": url, "flags": 0}


def message(message_id: str, channel_id: str, author: Mapping[str, Any], body: Mapping[str, Any]) -> Doc:
    """Return a message; ``body`` is what was sent, of which content, embeds, components and flags are kept."""
    return {
        "id": message_id,
        "channel_id": channel_id,
        "author": dict(author),
        "content": body.get("content") or "",
        "timestamp": now(),
        "edited_timestamp": None,
        "tts": bool(body.get("tts")),
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": body.get("attachments") or [],
        "embeds": body.get("embeds") or [],
        "components": body.get("components") or [],
        "flags": body.get("flags") or 0,
        "pinned": False,
        "type": 0,
        **({"message_reference": body["message_reference"]} if body.get("message_reference") else {}),
    }
