"""What can be wrong with a request about alerts."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Invalid, NotFound, Problem


class NoSuchAlert(NotFound):
    """No alert has this id or fingerprint."""

    code = "alert-not-found"
    title = "There is no such alert"
    help = "'valhalla alert ls --all' lists them; resolved ones are removed after 30 days."


class NoSuchSilence(NotFound):
    """No silence has this id."""

    code = "silence-not-found"
    title = "There is no such silence"
    help = "GET /system/alerts/silences lists them; ended ones are removed after 5 days."


class SilenceEnded(Conflict):
    """A silence that is over cannot be ended or changed."""

    code = "silence-ended"
    title = "The silence is over"
    help = "Make a new one."


class BadMatcher(Invalid):
    """A matcher is no RE2 expression, or all of them together fit everything."""

    code = "bad-matcher"
    title = "The matchers cannot be used"
    help = "Write NAME=VALUE, NAME!=VALUE, NAME=~REGEX or NAME!~REGEX; at least one must ask for something."


class AlertsRefused(Problem):
    """Some alerts of a batch have a wrong form; the others were taken."""

    code = "alerts-refused"
    status = 400
    title = "Some alerts were not taken"
    help = "Correct those that are named; the others were taken and need not be sent again."
