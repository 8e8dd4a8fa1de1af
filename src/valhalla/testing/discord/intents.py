"""Which intent a bot must have asked for to be told of an event."""

from __future__ import annotations

from typing import Final

from valhalla.testing.discord.documents import Doc

PRIVILEGED: Final = {1 << 1: "members", 1 << 8: "presences", 1 << 15: "message_content"}
ALL: Final = (1 << 26) - 1
_CONTENT: Final = 1 << 15

# the first that fits; in guilds, in direct messages
_BY_PREFIX: Final = (
    ("MESSAGE_REACTION_", 1 << 10, 1 << 13),
    ("MESSAGE_POLL_", 1 << 24, 1 << 25),
    ("MESSAGE_", 1 << 9, 1 << 12),
    ("TYPING_START", 1 << 11, 1 << 14),
    ("GUILD_MEMBERS_CHUNK", 0, 0),
    ("GUILD_MEMBER_", 1 << 1, 0),
    ("THREAD_MEMBERS_", 1 << 1, 0),
    ("GUILD_BAN_", 1 << 2, 0),
    ("GUILD_EMOJIS_", 1 << 3, 0),
    ("GUILD_STICKERS_", 1 << 3, 0),
    ("GUILD_SOUNDBOARD_", 1 << 3, 0),
    ("GUILD_INTEGRATIONS_", 1 << 4, 0),
    ("INTEGRATION_", 1 << 4, 0),
    ("WEBHOOKS_", 1 << 5, 0),
    ("INVITE_", 1 << 6, 0),
    ("VOICE_STATE_", 1 << 7, 0),
    ("PRESENCE_", 1 << 8, 0),
    ("GUILD_SCHEDULED_EVENT_", 1 << 16, 0),
    ("AUTO_MODERATION_RULE_", 1 << 20, 0),
    ("AUTO_MODERATION_ACTION_", 1 << 21, 0),
    ("GUILD_", 1 << 0, 0),
    ("CHANNEL_PINS_", 1 << 0, 1 << 12),
    ("CHANNEL_", 1 << 0, 0),
    ("THREAD_", 1 << 0, 0),
    ("STAGE_INSTANCE_", 1 << 0, 0),
)


def needed(event: str, *, direct: bool) -> int:
    """Return the intent's bit; 0: everybody is told."""
    for prefix, in_guilds, in_direct in _BY_PREFIX:
        if event.startswith(prefix):
            return in_direct if direct else in_guilds
    return 0


def seen(event: str, data: Doc, intents: int, me: str) -> Doc | None:
    """Return what a bot with these intents sees of an event, None if nothing."""
    direct = data.get("guild_id") is None and not event.startswith("GUILD_")
    bit = needed(event, direct=direct)
    if bit and not intents & bit:
        return None
    hides = event in {"MESSAGE_CREATE", "MESSAGE_UPDATE"} and not direct and not intents & _CONTENT
    if hides and data.get("author", {}).get("id") != me and f"<@{me}>" not in (data.get("content") or ""):
        return {**data, "content": "", "embeds": [], "attachments": [], "components": []}
    return data
