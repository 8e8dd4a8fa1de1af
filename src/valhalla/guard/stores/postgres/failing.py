"""What a driver's error means to a caller of the guard."""

from __future__ import annotations

from typing import Final, NoReturn

from valhalla.guard.errors import StoreRefuses
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.sqlstates import explain, is_away, sqlstate

# a deadlock or a serialization failure: nothing was done, the same batch goes through the next time
_AGAIN: Final = ("40001", "40P01")
# a lock or a statement that took too long; the server works
_SLOW: Final = ("55P03", "57014")
# no such schema or function
_BARE: Final = ("3F000", "42883")
TRIES: Final = 5


def may_repeat(error: BaseException) -> bool:
    """Say whether the batch was undone as a whole and should simply be sent again."""
    return sqlstate(error) in _AGAIN


def is_lost(error: BaseException) -> bool:
    """Say whether the connection is gone, so that nobody knows what became of the batch."""
    return is_away(error) and sqlstate(error) not in _SLOW


def problem(error: BaseException, schema: str) -> Problem | None:
    """Return the typed problem for a driver's error, ``None`` if the statement itself is at fault."""
    state = sqlstate(error)
    if state in _BARE:
        return StoreRefuses(
            f"the database has no schema {schema} of this release",
            help="Call guard.setup() once, or let the control plane migrate its database.",
        )
    if state in _SLOW or state in _AGAIN:
        return Unavailable("postgres", "the guard's rows are locked by others for too long")
    if is_away(error):
        return Unavailable("postgres", explain(error, "the guard's Postgres"))
    return None


def fail(error: BaseException, schema: str) -> NoReturn:
    """Raise what stands for a driver's error, with it as the cause, or the error itself: nothing is its own cause."""
    found = problem(error, schema)
    if found is None:
        raise error
    raise found from error
