"""What requests that come by the proxy can meet, and who registers where a sandbox's go."""

from __future__ import annotations

from valhalla.kernel.problems import Forbidden, Invalid, NotFound, Problem, Unavailable


class UpstreamRefused(Invalid):
    """The address may not be a sandbox's upstream."""

    code = "upstream-refused"
    title = "Requests may not be sent there"
    help = "Name an address that the operator allows: the setting 'upstream_networks' has the private ones."


class UpstreamNotFound(NotFound):
    """The sandbox has no upstream."""

    code = "upstream-not-found"
    title = "The sandbox has no upstream"
    help = "Register one: valhalla sandbox upstream NAME http://127.0.0.1:3000."


class RoutingKeyRefused(Forbidden):
    """The request names a routing key that is none, or another sandbox's."""

    code = "routing-key-refused"
    title = "This routing key opens no sandbox"
    help = "'valhalla sandbox upstream NAME' prints the key of a sandbox to who may change it."


class NoUpstream(Problem):
    """The request belongs to a sandbox that has not said where its requests go."""

    code = "sandbox-without-upstream"
    status = 502
    title = "The sandbox has not said where its requests go"
    help = "valhalla sandbox upstream NAME http://127.0.0.1:3000, or give the route back: valhalla sandbox unlink."


class UpstreamDown(Problem):
    """The request belongs to a sandbox whose upstream cannot be reached. Production has not seen it."""

    code = "sandbox-upstream-down"
    status = 502
    title = "The sandbox's upstream cannot be reached"
    help = "Start the program at the sandbox's upstream, or give the route back: valhalla sandbox unlink."


class UpstreamSlow(UpstreamDown):
    """The sandbox's upstream has not answered in time."""

    code = "sandbox-upstream-slow"
    status = 504
    title = "The sandbox's upstream does not answer in time"


class ProductionDown(Problem):
    """Production cannot be reached from the proxy."""

    code = "production-down"
    status = 502
    title = "Production cannot be reached"
    help = "Look at production itself and at --production of this proxy; sandboxes are not concerned."


class ProductionSlow(ProductionDown):
    """Production has not answered in time."""

    code = "production-slow"
    status = 504
    title = "Production does not answer in time"


class RoutesUnknown(Unavailable):
    """The request's key is a sandbox's, or being moved, and the proxy cannot prove whose it is now."""

    code = "routes-unknown"
    title = "The proxy waits until it knows whose this request is"
    help = "It goes on by itself when NATS answers; retry after 'retry_after' seconds."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__("nats", detail or self.title, retry_after=1.0)


class RequestRefused(Problem):
    """The request could be read in two ways, or asks for what a proxy does not do; nobody was asked."""

    code = "request-refused"
    status = 400
    title = "This request is not passed on"
    help = "Send each routing header once, an address that begins with '/', and no method for proxies."


class RequestTooLarge(Problem):
    """The body is larger than the proxy passes on."""

    code = "request-too-large"
    status = 413
    title = "The request's body is too large"
    help = "Send less, or start the proxy with a larger --max-body."


class LoopDetected(Problem):
    """The request has been here before: an upstream sends its requests back to the proxy."""

    code = "proxy-loop"
    status = 508
    title = "The request came back to the proxy"
    help = "Let production or the sandbox's upstream be the application itself, not the proxy before it."
