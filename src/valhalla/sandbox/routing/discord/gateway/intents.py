"""The gateway's intents by name: which events a bot asks for. Pure."""

from __future__ import annotations

from typing import Final

from valhalla.kernel.problems import Invalid

BITS: Final = {
    "guilds": 0,
    "guild_members": 1,
    "guild_moderation": 2,
    "guild_expressions": 3,
    "guild_integrations": 4,
    "guild_webhooks": 5,
    "guild_invites": 6,
    "guild_voice_states": 7,
    "guild_presences": 8,
    "guild_messages": 9,
    "guild_message_reactions": 10,
    "guild_message_typing": 11,
    "direct_messages": 12,
    "direct_message_reactions": 13,
    "direct_message_typing": 14,
    "message_content": 15,
    "guild_scheduled_events": 16,
    "auto_moderation_configuration": 20,
    "auto_moderation_execution": 21,
    "guild_message_polls": 24,
    "direct_message_polls": 25,
}
PRIVILEGED: Final = frozenset({"guild_members", "guild_presences", "message_content"})


def parse(text: str) -> int:
    """Return the bits of a number, or of names with commas; ``default`` is all but the privileged, ``all`` is all.

    Raises:
        Invalid: a name is none.
    """
    if text.strip().isdecimal():
        return int(text)
    bits = 0
    for name in (each.strip().lower() for each in text.split(",")):
        if name in {"default", "all"}:
            bits |= sum(1 << bit for each, bit in BITS.items() if name == "all" or each not in PRIVILEGED)
        elif name in BITS:
            bits |= 1 << BITS[name]
        else:
            raise Invalid(f"{name!r} is no intent; there are default, all, {', '.join(BITS)}")
    return bits
