"""What webhooks can meet."""

from __future__ import annotations

from valhalla.kernel.problems import Invalid, NotFound, PayloadTooLarge, Problem


class BadReceiver(Invalid):
    """The receiver contradicts itself."""

    code = "receiver-bad"
    title = "This is no valid receiver of webhooks"
    help = "docs/http-ingress.md shows receivers for common senders."


class ReceiverNotFound(NotFound):
    """Nothing receives webhooks under this name now."""

    code = "receiver-not-found"
    title = "Nothing receives webhooks here"
    help = "'valhalla ingress receiver ls' lists the receivers, and which of them are enabled."


class SignatureRefused(Problem):
    """The webhook is not signed with a secret of its receiver, or was signed too long ago. It was not stored."""

    code = "webhook-signature-refused"
    status = 401
    title = "The webhook's signature does not hold"
    help = "Compare the sender's signing secret and scheme with the receiver's; clocks may be five minutes apart."


class KeyMissing(Invalid):
    """The webhook has no key where its receiver looks for one, or one that its kind does not take."""

    code = "webhook-key-missing"
    title = "The webhook does not say whose it is"
    help = "Let the receiver look elsewhere ('key_from'), or give it a 'default_key'."


class WebhookTooLarge(PayloadTooLarge):
    """The webhook's body is larger than its receiver takes."""

    code = "webhook-too-large"
    title = "The webhook is too large"
    help = "Raise the receiver's 'max_bytes' (an event holds 1,000,000 at most), or have the sender send less."
