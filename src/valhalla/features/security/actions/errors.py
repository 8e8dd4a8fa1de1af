"""The problems of requested security actions."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Forbidden, Invalid, NotFound


class ChainNotFound(NotFound):
    """There is no approval chain of this name."""

    code = "approval-chain-not-found"
    title = "There is no such approval chain"
    help = "List the chains: GET /system/security/approval-chains."


class BadChain(Invalid):
    """An approval chain that could not be asked, or that nobody could fulfil."""

    code = "approval-chain-invalid"
    title = "This is no valid approval chain"
    help = "See docs/security-actions.md for what a chain may say."


class NotTheRequester(Forbidden):
    """Only who asked, or somebody who decides, may take a request back."""

    code = "not-the-requester"
    title = "Only who asked may take it back"
    help = "Ask the requester, or somebody with the scope 'actions:approve'."


class TooManyNotes(Conflict):
    """A request has as many comments or as much evidence as it may have."""

    code = "too-many-notes"
    title = "There is too much on this request already"
    help = "Put further evidence elsewhere and write a comment with a reference to it."


class EvidenceNotFound(NotFound):
    """The request has no such piece of evidence."""

    code = "evidence-not-found"
    title = "There is no such evidence"
    help = "List what the request has: GET /system/security/actions/{id}/evidence."
