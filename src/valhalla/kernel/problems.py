"""Every failure a user can meet, as a typed exception that knows its HTTP answer (RFC 9457).

A problem has a stable ``code`` (kebab-case, never renamed), a ``status``, a ``title`` that is the same for every
occurrence, a ``detail`` for this one, and ``help``: what to do next. ``extra`` holds further machine-readable members;
secrets never go there.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Problem(Exception):  # noqa: N818 - the field's word (RFC 9457)
    """Base of all problems. Subclass it in a feature's ``errors.py`` with the class attributes set."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong inside Valhalla"
    help: ClassVar[str] = "Try again; if it persists, report the correlation id to the operator."

    def __init__(
        self,
        detail: str | None = None,
        *,
        help: str | None = None,  # noqa: A002 - the member's name on the wire
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        """Make one occurrence. ``retry_after`` is in seconds and is also sent as the ``Retry-After`` header."""
        self.detail = detail or self.title
        self.advice = help or self.help
        self.retry_after = retry_after
        self.headers = headers or {}
        self.extra = extra
        super().__init__(self.detail)

    def document(self, *, instance: str | None = None, correlation_id: str | None = None) -> dict[str, Any]:
        """Return the ``application/problem+json`` members (RFC 9457 section 3)."""
        body: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "help": self.advice,
        }
        if instance is not None:
            body["instance"] = instance
        if correlation_id is not None:
            body["correlation_id"] = correlation_id
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        return body | self.extra


class Invalid(Problem):
    """The request cannot be understood or breaks a rule about its form."""

    code = "invalid-request"
    status = 422
    title = "The request is not valid"
    help = "Correct the members that are named and send it again."


class Unauthenticated(Problem):
    """No key was sent, or it is unknown, expired or revoked (one answer for all three)."""

    code = "unauthenticated"
    status = 401
    title = "A valid API key is needed"
    help = "Send 'Authorization: Bearer <key>'; an admin makes keys with 'valhalla key new'."


class Forbidden(Problem):
    """The key is known but does not allow this."""

    code = "forbidden"
    status = 403
    title = "This key does not allow that"
    help = "Use a key with the named scope, or ask the operator for one."


class NotFound(Problem):
    """The named thing does not exist, or the caller may not know that it does."""

    code = "not-found"
    status = 404
    title = "There is no such thing"
    help = "Check the id or name; 'valhalla sandbox ls' lists what exists."


class MethodNotAllowed(Problem):
    """The path exists, the method does not."""

    code = "method-not-allowed"
    status = 405
    title = "This path does not know that method"
    help = "See the Allow header and /docs for what the path offers."


class Conflict(Problem):
    """The request is fine, the present state is not."""

    code = "conflict"
    status = 409
    title = "The present state does not allow that"
    help = "Read the current state and decide again."


class IllegalTransition(Conflict):
    """A lifecycle was asked for a step it does not have."""

    code = "illegal-transition"
    title = "That step is not legal from the current status"
    help = "Only the transitions in 'legal' are possible now."


class PreconditionFailed(Problem):
    """``If-Match`` named a version that is no longer the current one."""

    code = "precondition-failed"
    status = 412
    title = "The record has changed since you read it"
    help = "Read it again, merge, and retry with the new ETag."


class PayloadTooLarge(Problem):
    """The body is larger than the limit."""

    code = "payload-too-large"
    status = 413
    title = "The request body is too large"
    help = "Send less in one request."


class QuotaExceeded(Problem):
    """A limit is used up: of requests at the gate, or of calls of a guarded action. Nothing was charged or done."""

    code = "quota-exceeded"
    status = 429
    title = "A limit is used up"
    help = "Wait for 'retry_after' seconds, spread the calls, or have the limit raised."


class Unavailable(Problem):
    """A backend that is needed cannot be reached right now; nothing was changed."""

    code = "backend-unavailable"
    status = 503
    title = "A backend is not available"
    help = "'valhalla doctor' says which backend is down and what to do; then try again."

    def __init__(
        self, backend: str, detail: str | None = None, *, retry_after: float | None = 2.0, **extra: Any
    ) -> None:
        """``backend`` is the name the user knows: ``postgres``, ``valkey`` or ``nats``."""
        super().__init__(detail or f"{backend} cannot be reached", retry_after=retry_after, backend=backend, **extra)
        self.backend = backend


class Misconfigured(Problem):
    """A setting is unknown or has a bad value; the start is refused."""

    code = "misconfigured"
    status = 500
    title = "A setting is not valid"
    help = "Correct the named setting; 'valhalla up --help' and docs/settings.md list them all."
