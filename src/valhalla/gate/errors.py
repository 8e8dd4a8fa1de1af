"""The gate's own problems."""

from __future__ import annotations

from valhalla.kernel.problems import Problem


class BodyTooSlow(Problem):
    """The body did not arrive in the time that one request has."""

    code = "request-timeout"
    status = 408
    title = "The request body did not arrive in time"
    help = "Send it again, faster or in smaller parts; the operator's 'body_timeout' says how long one may take."


class HttpProblem(Problem):
    """An answer that has no problem of its own: the status says what is known."""

    code = "http-error"
    title = "The request was refused"
    help = "The status and the detail say why."


class PlaneUnknown(Problem):
    """Nobody has told this application yet which keys, limits and mode hold, or too long ago."""

    code = "control-plane-unknown"
    status = 503
    title = "The control plane has not told what holds"
    help = "Come again after Retry-After; the operator sees in the application's log why the plane is not followed."
