"""What rules of rate limits can meet."""

from __future__ import annotations

from valhalla.kernel.problems import Invalid, NotFound


class BadRule(Invalid):
    """The rule contradicts itself, or nobody could mean it."""

    code = "limit-bad-rule"
    title = "This is no valid rate limit"
    help = "Write the rate as '100/minute', '1000/60 s' or '10 per hour'; all numbers above zero."


class LimitNotFound(NotFound):
    """No rule has this name."""

    code = "limit-not-found"
    title = "There is no such rate limit"
    help = "'valhalla limit ls' lists them."
