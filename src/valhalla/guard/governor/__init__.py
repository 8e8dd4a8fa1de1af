"""The governor: decides whether one more call of a resource is allowed now.

No window of a limit's length ever sees more than its capacity. See ``Governor`` for the calls, ``Limit`` for the two
kinds, ``rules`` for the arithmetic that the shared stores repeat, ``headers`` for HTTP.
"""

from __future__ import annotations

from valhalla.guard.governor.decision import Decision, Policies
from valhalla.guard.governor.errors import BadLimit, BadTake, NeverPossible, UnknownLimit, UnknownResource
from valhalla.guard.governor.governor import Check, Governor
from valhalla.guard.governor.headers import headers
from valhalla.guard.governor.limits import Limit, Limits, as_limits

__all__ = [
    "BadLimit",
    "BadTake",
    "Check",
    "Decision",
    "Governor",
    "Limit",
    "Limits",
    "NeverPossible",
    "Policies",
    "UnknownLimit",
    "UnknownResource",
    "as_limits",
    "headers",
]
