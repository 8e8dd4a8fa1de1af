"""What a request that goes out can meet before or instead of its answer."""

from __future__ import annotations

from valhalla.kernel.problems import Invalid, Problem


class TargetRefused(Invalid):
    """The address is private and not allow-listed, or the URL lies under no declared base."""

    code = "outgoing-target-refused"
    title = "Requests may not be sent there"
    help = (
        "Name a target that the operator has declared; private addresses need the setting 'outgoing_networks', or"
        " 'outgoing_hosts' for webhooks and mail."
    )


class AnswerTooLarge(Problem):
    """The answer has more bytes than were asked for; the rest was not read."""

    code = "outgoing-answer-too-large"
    status = 502
    title = "The answer is too large"
    help = "Raise the limit of this request, or have the target answer with less."
