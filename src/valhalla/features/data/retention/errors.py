"""What can be wrong with a request about retention."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Invalid, NotFound


class UnknownCategory(Invalid):
    """No table is bound to this name."""

    code = "retention-unknown-category"
    title = "There is no such category of data"
    help = "GET /system/retention/categories lists them."


class BadPolicy(Invalid):
    """The policy contradicts itself."""

    code = "retention-bad-policy"
    title = "This is no valid retention policy"
    help = "Name 'days' (0 or more), 'keep_last', or both."


class NotPurged(Conflict):
    """Nothing of this category may be purged."""

    code = "retention-not-purged"
    title = "Nothing of this category is ever purged"
    help = "See docs/retention.md for why."


class NoPolicy(Conflict):
    """Neither a policy nor a default says what is old."""

    code = "retention-no-policy"
    title = "No policy says what is old"
    help = "Put a policy for the category first."


class AlreadyPurging(Conflict):
    """A purge of this category has not ended yet."""

    code = "retention-already-purging"
    title = "A purge of this category is under way"
    help = "Wait for it: GET /system/retention/purges lists them."


class NeedsConfirmation(Conflict):
    """It would take a larger share of the table than the policy allows without people."""

    code = "retention-needs-confirmation"
    title = "That is a large part of the table"
    help = "Ask for it with 'confirm': it is then held until somebody else approves ('valhalla hold ls')."


class PolicyNotFound(NotFound):
    """No policy is set for this category; its default holds."""

    code = "retention-policy-not-found"
    title = "There is no policy for this category"
    help = "GET /system/retention/categories shows what holds without one."


class HoldNotFound(NotFound):
    """No legal hold has this name."""

    code = "legal-hold-not-found"
    title = "There is no such legal hold"
    help = "GET /system/retention/holds lists them."


class PurgeNotFound(NotFound):
    """No purge has this id."""

    code = "retention-purge-not-found"
    title = "There is no such purge"
    help = "GET /system/retention/purges lists them."


class PurgeGrown(Conflict):
    """More would go than when the purge was allowed."""

    code = "retention-grown"
    title = "There is more to purge than was looked at"
    help = "Look at the preview and ask again."


class PurgeNotExported(Conflict):
    """What is to go was to be exported first, and is not, or not completely."""

    code = "retention-not-exported"
    title = "What is to be purged was not exported completely"
    help = "See the export's error; the next purge tries again."
