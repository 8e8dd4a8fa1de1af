"""The governor's problems. A refusal is a ``Decision``; these are for what no waiting helps."""

from __future__ import annotations

from valhalla.kernel.problems import Invalid, NotFound, Problem


class BadLimit(Invalid):
    """The limit contradicts itself, or nobody could mean it."""

    code = "governor-bad-limit"
    title = "This is no valid limit"
    help = "Write '100/hour', '1000/60 s' or '10 per minute'; both numbers above zero."


class BadTake(Invalid):
    """The cost is not a whole number above zero, or the subject is not usable as a key."""

    code = "governor-bad-take"
    title = "The governor cannot count this"
    help = "Pass a cost of 1 or more, and as subject a text of at most 512 characters such as a user's id."


class NeverPossible(Problem):
    """The cost is more than the limit ever allows at once, so waiting does not help."""

    code = "governor-never-possible"
    status = 422
    title = "This costs more than the limit ever allows"
    help = "Split the call into cheaper ones, or have the limit's capacity (or burst) raised."


class UnknownResource(Problem):
    """Nobody set a limit for the resource, and the governor denies what it does not know."""

    code = "governor-unknown-resource"
    status = 403
    title = "No limit is set for this resource"
    help = "Set one with set_limit(...), or make the governor with unknown='allow'."


class UnknownLimit(NotFound):
    """The resource has no limit of this name."""

    code = "governor-unknown-limit"
    title = "The resource has no such limit"
    help = "Use one of the names in 'known', or leave the names out to take from all of them."
