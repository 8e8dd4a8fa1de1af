"""What signing in with an issuer can meet beside a person who has no access."""

from __future__ import annotations

from valhalla.kernel.problems import Problem, Unauthenticated


class IssuerUnavailable(Problem):
    """The issuer did not answer, or not in a form that can be relied on."""

    code = "issuer-unavailable"
    status = 502
    title = "The sign-in service does not answer"
    help = "Try again; an API key signs in meanwhile. The operator finds the reason in the log."


class SignInRefused(Unauthenticated):
    """What came back from the issuer is not the answer to a sign-in that this browser began, or is not valid."""

    code = "sign-in-refused"
    title = "The sign-in did not succeed"
    help = "Begin again at the sign-in page of this console."
