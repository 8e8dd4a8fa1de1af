"""What an operator can do wrong."""

from __future__ import annotations

from valhalla.kernel.problems import NotFound, Problem


class UnknownAdminAction(NotFound):
    """There is no admin action of this name."""

    code = "unknown-admin-action"
    title = "There is no such admin action"
    help = "GET /system/admin/actions lists them with their arguments."


class HandoutGone(NotFound):
    """No secret waits under this id for who asks: it was taken, or nobody came within a day."""

    code = "handout-gone"
    title = "Nothing waits to be handed out"
    help = "GET /system/admin/handouts lists what waits for you; what is lost is made anew by another rotation."


class AdminActionFailed(Problem):
    """The action was tried and did not come to a good end; what is known of it is in the ledger."""

    code = "admin-action-failed"
    title = "The admin action failed"
    help = "See GET /system/admin/operations for the operation, and the log for the cause."
