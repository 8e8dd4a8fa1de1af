"""What notifications can meet."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Invalid, NotFound


class BadChannel(Invalid):
    """The channel cannot be meant, or could never deliver."""

    code = "notification-bad-channel"
    title = "This is no valid notification channel"
    help = "docs/notifications.md shows a channel of every kind."


class BadRule(Invalid):
    """The rule contradicts itself or names what does not exist."""

    code = "notification-bad-rule"
    title = "This is no valid notification rule"
    help = "docs/notifications.md shows every member of a rule."


class BadTemplate(Invalid):
    """The template cannot be read, or took too much time or room."""

    code = "notification-bad-template"
    title = "This template cannot be used"
    help = "POST /system/notify/templates/preview shows what a template makes of an event."


class ChannelNotFound(NotFound):
    """No channel has this name."""

    code = "notification-channel-not-found"
    title = "There is no such notification channel"
    help = "'valhalla notify channel ls' lists them."


class RuleNotFound(NotFound):
    """No rule has this name."""

    code = "notification-rule-not-found"
    title = "There is no such notification rule"
    help = "'valhalla notify rule ls' lists them."


class TemplateNotFound(NotFound):
    """No template has this name."""

    code = "notification-template-not-found"
    title = "There is no such notification template"
    help = "'valhalla notify template ls' lists them."


class DeliveryNotFound(NotFound):
    """No delivery has this id, or it is older than what is kept."""

    code = "notification-delivery-not-found"
    title = "There is no such delivery"
    help = "'valhalla notify delivery ls' lists them; those that ended more than 30 days ago are removed."


class ChannelDisabled(Conflict):
    """The channel exists but takes nothing now."""

    code = "notification-channel-disabled"
    title = "This notification channel is disabled"
    help = "Enable it: valhalla notify channel set NAME enabled=true."


class ChannelInUse(Conflict):
    """Rules or other channels name it."""

    code = "notification-channel-in-use"
    title = "This notification channel is still named elsewhere"
    help = "Change the rules and channels in 'named_by' first."


class NoSigningKey(Conflict):
    """Only webhooks are signed."""

    code = "notification-no-signing-key"
    title = "This channel has no signing key"
    help = "Only channels of kind 'webhook' sign what they send."
