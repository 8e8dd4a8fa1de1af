"""What the blocklist can meet."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Forbidden, Invalid, NotFound


class BadRule(Invalid):
    """The value is none of its type, or has no canonical form."""

    code = "blocklist-bad-rule"
    title = "This is no valid rule of the blocklist"
    help = "Write addresses as 203.0.113.7, networks as 203.0.113.0/24, countries as two letters, an ASN as a number."


class TooBroad(Invalid):
    """The rule would block everybody, or nearly."""

    code = "blocklist-too-broad"
    title = "The rule would block nearly everybody"
    help = "Name a smaller network, or repeat it with 'confirm=true'."


class LocksYouOut(Conflict):
    """The rule holds for the request that asks for it: its maker could not take it back."""

    code = "blocklist-locks-you-out"
    title = "The rule would lock you out"
    help = "Narrow it, or allow your own address or key first; somebody else can block you."


class RuleNotFound(NotFound):
    """No rule has this key."""

    code = "blocklist-not-found"
    title = "There is no such rule in the blocklist"
    help = "'valhalla block list' lists them; a key is 'ip:203.0.113.7' or 'cidr:203.0.113.0/24'."


class Blocked(Forbidden):
    """The caller is on the blocklist. Which rule it was is not told."""

    code = "blocked"
    title = "You are not let in"
    help = "If this is a mistake tell the operator the correlation id of this answer."
