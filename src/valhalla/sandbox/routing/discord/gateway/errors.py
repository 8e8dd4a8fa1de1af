"""The problems of Discord's gateway."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Problem, Unavailable


class TokenRefused(Problem):
    """Discord does not know the bot token; it would not be known later either."""

    code = "discord-token-refused"
    status = 401
    title = "Discord does not take the bot token"
    help = (
        "Copy the token from the bot's page in Discord's developer portal (a reset made the old one invalid), "
        "and put it into DISCORD_TOKEN or into the file of --token-file."
    )


class GatewayRefused(Problem):
    """The gateway closed for a reason that stays."""

    code = "discord-gateway-refused"
    status = 502
    title = "Discord's gateway does not take this client"


class IdentifiesSpent(Problem):
    """So many sessions were begun today that Discord would reset the token at some more."""

    code = "discord-identifies-spent"
    status = 503
    title = "The bot has begun as many sessions as Discord allows in a day"
    help = "Wait 'retry_after' seconds; find what begins sessions again and again. Resumed ones do not count."


class ShardTaken(Conflict):
    """Another process on this machine reads this shard."""

    code = "discord-shard-taken"
    title = "Another process reads this shard"
    help = "Stop the other one, or give each process shards of its own with --only."


class DiscordAway(Unavailable):
    """Discord's REST interface does not answer."""

    code = "discord-away"
    title = "Discord does not answer"
    help = "See https://discordstatus.com and whether this machine reaches discord.com; then start it again."

    def __init__(self, detail: str) -> None:
        super().__init__("discord", detail, retry_after=30.0)
