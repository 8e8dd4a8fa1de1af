"""What policies and the security mode can meet, and what they answer."""

from __future__ import annotations

from valhalla.kernel.problems import Forbidden, Invalid, NotFound


class PolicyNotFound(NotFound):
    """No policy has this name."""

    code = "policy-not-found"
    title = "There is no such policy"
    help = "'valhalla policy ls' lists them."


class BadPolicy(Invalid):
    """The policy contradicts itself."""

    code = "policy-bad"
    title = "This is no valid policy"
    help = "docs/policies.md says what a policy may hold."


class BadCondition(BadPolicy):
    """The condition is no CEL, asks for something that is not there, or could take too long."""

    code = "policy-bad-condition"
    title = "This is no valid condition"
    help = "Write CEL over request, principal, sandbox, counters and mode; POST …/policies/test tries it out."


class BadMode(Invalid):
    """The security mode cannot be set so."""

    code = "security-bad-mode"
    title = "The security mode cannot be set so"
    help = "A raised mode lasts from a minute to a week: say for how long."


class PolicyChallenge(Forbidden):
    """A policy wants more than this request shows."""

    code = "policy-challenge"
    title = "A security policy refuses this request"
    help = "Ask with a key that may, or ask the operator which policy it is: the correlation id tells."


class PolicyBlocked(Forbidden):
    """A policy refuses this request, and whoever sent it for a while."""

    code = "policy-blocked"
    title = "A security policy has blocked this caller"
    help = "Wait for 'retry_after' seconds, or ask the operator with the correlation id."


class PolicyHeld(Forbidden):
    """A policy lets this request pass only after somebody has approved it."""

    code = "policy-held"
    title = "This request waits for approval"
    help = "Somebody else approves it ('valhalla hold ls'); then send it again."
