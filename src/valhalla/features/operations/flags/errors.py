"""What flags can meet."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Invalid, NotFound


class BadFlag(Invalid):
    """The definition contradicts itself, or its targeting does not parse."""

    code = "flag-bad-definition"
    title = "This is no valid flag"
    help = "Correct the member that 'errors' points at; the format is flagd's, see docs/flags.md."


class FlagNotFound(NotFound):
    """No flag has this key."""

    code = "flag-not-found"
    title = "There is no such flag"
    help = "'valhalla flag ls' lists them."


class SharedRuleNotFound(NotFound):
    """No shared rule has this key."""

    code = "flag-rule-not-found"
    title = "There is no such shared rule"
    help = "GET /system/flag-rules lists them."


class FlagInUse(Conflict):
    """Other flags depend on what shall be removed."""

    code = "flag-in-use"
    title = "Other flags depend on it"
    help = "Take it out of the flags that are named, then remove it."


class FlagKilled(Conflict):
    """The kill switch is on, and this would turn it off by the way."""

    code = "flag-killed"
    title = "The kill switch of this flag is on"
    help = "Revive the flag first ('valhalla flag revive KEY'): nothing else turns the kill switch off."
