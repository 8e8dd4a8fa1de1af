"""The problems of routing events."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Forbidden, Invalid, Problem, Unavailable


class EventInvalid(Invalid):
    """An event's source, key, type, id or size is not one that can be routed; it was not published."""

    code = "event-invalid"
    title = "The event cannot be routed"
    help = "Correct the member that is named and publish it again; nothing of it was stored."

    def __init__(self, detail: str | None = None, *, member: str) -> None:
        """``member`` names what is wrong."""
        super().__init__(detail, member=member, errors=[{"pointer": f"/{member}", "detail": detail}])


class EventTooLarge(EventInvalid):
    """The event's data is larger than an event may be."""

    code = "event-too-large"
    status = 413
    title = "The event is too large"
    help = "Store the data elsewhere and send where it is."


class Fenced(Unavailable):
    """This ingress cannot prove that it knows the present routes, so it publishes nothing."""

    code = "ingress-fenced"
    title = "The ingress waits until it knows the present routes"
    help = "It goes on by itself when NATS answers; retry after 'retry_after' seconds."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__("nats", detail or self.title, retry_after=1.0)


class EventsFull(Unavailable):
    """The streams hold as much as they may, and what they hold is not given up for something new."""

    code = "events-full"
    title = "There is no room for more events"
    help = "Nothing that was stored is lost. Raise 'events_mb', lower 'events_kept', or free the disk; then repeat it."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__("nats", detail or self.title, retry_after=30.0)


class ClaimRefused(Problem):
    """An ingress did not take over the change in time, and the settings say that the claim is withdrawn then."""

    code = "claim-refused"
    status = 503
    title = "Not every ingress took over the change in time"
    help = (
        "Nothing has moved. See which ingress is named, then try again; 'events_laggards = fence' cuts it off instead."
    )


class ClaimDenied(Forbidden):
    """Whoever knows whose the key is says that it is not this caller's."""

    code = "claim-denied"
    title = "The key may not be claimed"
    help = "The reason is named. Claim a key of your own, or ask the operator (setting 'route_proofs')."


class ClaimUnproven(Problem):
    """Whoever knows whose the key is did not answer; without an answer nothing is claimed."""

    code = "claim-unproven"
    status = 503
    title = "Nobody could say whether the key may be claimed"
    help = "Nothing was claimed. Try again; if it stays so, the operator looks at what 'route_proofs' names."


class RouteOverlaps(Conflict):
    """The pattern covers subjects that another sandbox's pattern covers."""

    code = "route-overlaps"
    title = "Another route covers some of the same subjects"
    help = "Choose a narrower pattern, or unlink the one that is named."


class DeadLetterGone(Problem):
    """There is no dead letter of this number in the sandbox."""

    code = "dead-letter-not-found"
    status = 404
    title = "There is no such dead letter"
    help = "'valhalla sandbox dead NAME' lists them; they go with the sandbox."
