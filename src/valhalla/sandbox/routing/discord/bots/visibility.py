"""What a bot is told of an event, by the intents that it asked for. Pure.

https://discord.com/developers/docs/events/gateway#list-of-intents
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from valhalla.sandbox.routing.discord.gateway.intents import BITS

ALL: Final = (1 << 26) - 1
GUILDS: Final = 1 << BITS["guilds"]
_CONTENT: Final = 1 << BITS["message_content"]
# what an application's flags say of the intents that have to be switched on; the second is for bots in few guilds
_FLAGS: Final = {"guild_presences": (12, 13), "guild_members": (14, 15), "message_content": (18, 19)}

# the first that fits; in guilds, and in direct messages
_BY_PREFIX: Final = (
    ("MESSAGE_REACTION_", "guild_message_reactions", "direct_message_reactions"),
    ("MESSAGE_POLL_", "guild_message_polls", "direct_message_polls"),
    ("MESSAGE_", "guild_messages", "direct_messages"),
    ("TYPING_START", "guild_message_typing", "direct_message_typing"),
    ("GUILD_MEMBERS_CHUNK", None, None),
    ("GUILD_MEMBER_", "guild_members", None),
    ("THREAD_MEMBERS_", "guild_members", None),
    ("GUILD_BAN_", "guild_moderation", None),
    ("GUILD_AUDIT_LOG_", "guild_moderation", None),
    ("GUILD_EMOJIS_", "guild_expressions", None),
    ("GUILD_STICKERS_", "guild_expressions", None),
    ("GUILD_SOUNDBOARD_", "guild_expressions", None),
    ("GUILD_INTEGRATIONS_", "guild_integrations", None),
    ("INTEGRATION_", "guild_integrations", None),
    ("WEBHOOKS_", "guild_webhooks", None),
    ("INVITE_", "guild_invites", None),
    ("VOICE_STATE_", "guild_voice_states", None),
    ("VOICE_CHANNEL_EFFECT_", "guild_voice_states", None),
    ("PRESENCE_", "guild_presences", None),
    ("GUILD_SCHEDULED_EVENT_", "guild_scheduled_events", None),
    ("AUTO_MODERATION_RULE_", "auto_moderation_configuration", None),
    ("AUTO_MODERATION_ACTION_", "auto_moderation_execution", None),
    ("GUILD_", "guilds", None),
    ("CHANNEL_PINS_", "guilds", "direct_messages"),
    ("CHANNEL_", "guilds", None),
    ("THREAD_", "guilds", None),
    ("STAGE_INSTANCE_", "guilds", None),
)


class _Author(msgspec.Struct):
    id: str = ""


class _Message(msgspec.Struct):
    content: str | None = ""
    author: _Author | None = None
    mentions: list[_Author] = []


_message: Final = msgspec.json.Decoder(_Message).decode


def needed(event: str, *, direct: bool = False) -> int:
    """Return the bit of the intent that an event needs; 0: everybody is told."""
    for prefix, in_guilds, in_direct in _BY_PREFIX:
        if event.startswith(prefix):
            name = in_direct if direct else in_guilds
            return 0 if name is None else 1 << BITS[name]
    return 0


def disallowed(intents: int, flags: int) -> int:
    """Return the intents that the application has not been given; ``flags`` are the application's."""
    allowed = ALL
    for name, (full, limited) in _FLAGS.items():
        if not flags & (1 << full | 1 << limited):
            allowed &= ~(1 << BITS[name])
    return intents & ~allowed


def seen(event: str, data: bytes, intents: int, me: str, *, direct: bool = False) -> bytes | None:
    """Return what a bot with these intents sees of an event's data, None if nothing; ``me`` is the bot's user."""
    bit = needed(event, direct=direct)
    if bit and not intents & bit:
        return None
    if intents & _CONTENT or direct or event not in {"MESSAGE_CREATE", "MESSAGE_UPDATE"}:
        return data
    try:
        said = _message(data)
    except msgspec.DecodeError:
        return None
    text = said.content or ""
    mine = said.author is not None and said.author.id == me
    if mine or any(each.id == me for each in said.mentions) or f"<@{me}>" in text or f"<@!{me}>" in text:
        return data
    return msgspec.json.encode(_hidden(msgspec.json.decode(data)))


def _hidden(message: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {**message, "content": "", "embeds": [], "attachments": [], "components": []}
    found.pop("poll", None)
    found.pop("message_snapshots", None)
    replied = found.get("referenced_message")
    if isinstance(replied, dict):
        found["referenced_message"] = _hidden(replied)  # pyright: ignore[reportUnknownArgumentType]
    return found
