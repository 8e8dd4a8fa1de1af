"""What the end of a connection means: whether its session remains, and whether to come back at all. Pure.

https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
"""

from __future__ import annotations

from typing import Final, NamedTuple

from valhalla.sandbox.routing.discord.gateway.errors import GatewayRefused, TokenRefused

LEAVING: Final = 4000
"""What we close with when the session shall remain: 1000 and 1001 would end it."""
GOODBYE: Final = 1000

# the session is gone, a new one may begin
_FORGOTTEN: Final = {
    4003: "it says that we sent before we identified",
    4007: "the number to resume from is not one of the session's",
    4009: "the session timed out",
}
_NEVER: Final = {
    4010: ("the shard does not exist", "Let --shards be the same in all processes, and --only smaller than it."),
    4011: ("the bot is in too many guilds for so few shards", "Start it without --shards: Discord says how many."),
    4012: ("it does not speak version 10 of the gateway any more", "Update Valhalla."),
    4013: ("the intents are not valid", "Name intents with --intents; 'valhalla ingress discord --help' lists them."),
    4014: (
        "the bot may not have these intents",
        "Switch the privileged intents on for the bot in Discord's developer portal, or leave them out of --intents.",
    ),
}


class Ending(NamedTuple):
    """How a connection ended. ``pause`` is the least time until the next one, in seconds."""

    resumes: bool
    why: str
    pause: float = 0.0


def of_code(code: int | None, reason: str = "") -> Ending:
    """Return what the other side's closing code means; None: the connection broke off.

    Raises:
        TokenRefused: the token is not valid.
        GatewayRefused: it would say the same for ever.
    """
    if code == 4004:
        raise TokenRefused("the gateway closed with 4004 (authentication failed)")
    if code in _NEVER:
        why, advice = _NEVER[code]
        raise GatewayRefused(f"the gateway closed with {code}: {why}", help=advice, close_code=code)
    if code in _FORGOTTEN:
        return Ending(resumes=False, why=_FORGOTTEN[code])
    if code is None:
        return Ending(resumes=True, why="the connection broke off")
    said = f" ({reason})" if reason.isprintable() and reason else ""
    return Ending(resumes=True, why=f"the gateway closed with {code}{said}")
