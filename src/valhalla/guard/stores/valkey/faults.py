"""What a lost connection or a refusal of the server means to the guard."""

from __future__ import annotations

from typing import Final

from redis import exceptions

from valhalla.guard.errors import StoreRefuses
from valhalla.guard.stores.valkey.replies import ReplyError
from valhalla.kernel.problems import Problem, Unavailable

# nothing was done, and it may be otherwise in a moment
_LATER: Final = frozenset(
    {"LOADING", "CLUSTERDOWN", "MASTERDOWN", "BUSY", "TRYAGAIN", "READONLY", "MISCONF", "OOM", "NOREPLICAS"}
)
_ADVICE: Final = {
    "MOVED": "Give the address of the node that has this tenant's slot; the store does not follow a cluster.",
    "NOPERM": "Allow the user EVAL, EVALSHA, TIME, the data commands and the keys of this tenant.",
}


class Lost(Exception):  # noqa: N818 - a fact about the connection, for the callers here
    """The connection broke. ``sent`` says whether the server may have done what was asked."""

    def __init__(self, cause: BaseException, *, sent: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.sent = sent


def unavailable(error: BaseException) -> Unavailable:
    """Return the problem that stands for a connection's end."""
    cause = error.cause if isinstance(error, Lost) else error
    if isinstance(cause, exceptions.AuthenticationError):
        return Unavailable("valkey", "valkey refuses the credentials")
    if isinstance(cause, (TimeoutError, exceptions.TimeoutError)):
        return Unavailable("valkey", "valkey does not answer in time")
    if isinstance(cause, (OSError, exceptions.ConnectionError)):
        return Unavailable("valkey", "valkey cannot be reached")
    return Unavailable("valkey", f"valkey does not answer as it should: {cause}")


def problem(reply: ReplyError) -> Problem:
    """Return the problem that stands for an error reply."""
    if reply.code in _LATER:
        return Unavailable("valkey", f"valkey cannot take this now: {reply}")
    return StoreRefuses(f"valkey refuses: {reply}", help=_ADVICE.get(reply.code))
