"""What an error of Postgres' drivers means: whether the server is away, what it lacks, and how to say so."""

from __future__ import annotations

from typing import Final

import asyncpg
import sqlalchemy.exc

# SQLSTATE classes that mean "the server cannot serve now", not "the statement is wrong": 53 is a lack of resources.
_AWAY: Final = ("08", "57P", "53")
_BROKEN: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.ConnectionDoesNotExistError,
    # the driver's word for a session that the dying server has just told so, before it closed it
    asyncpg.InternalClientError,
)
_SHORTAGES: Final = {
    "53100": "the disk of Postgres is full",
    "53200": "Postgres is out of memory or of locks",
    "53300": "Postgres has no free connection",
}


def is_away(error: BaseException) -> bool:
    """Say whether ``error``, or what caused it, means that the server cannot be reached."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, _BROKEN):
            return True
        state = getattr(seen, "sqlstate", None)
        if isinstance(state, str) and state.startswith(_AWAY):
            return True
        if isinstance(seen, sqlalchemy.exc.DBAPIError) and seen.connection_invalidated:
            return True
        if type(seen).__module__.startswith("psycopg") and type(seen).__name__ == "OperationalError" and state is None:
            return True
        seen = seen.__cause__ or getattr(seen, "orig", None)
    return False


def shortage(error: BaseException) -> str | None:
    """Say what the server lacks, if that is why it refused."""
    return _SHORTAGES.get(sqlstate(error) or "")


def explain(error: BaseException, whose: str) -> str:
    """Say in the user's words why ``whose`` server does not serve; ``is_away(error)`` holds."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TimeoutError):
            return f"{whose} does not answer in time"
        seen = getattr(seen, "orig", None) or seen.__cause__
    return shortage(error) or f"{whose} cannot be reached"


def sqlstate(error: BaseException) -> str | None:
    """Return the five-character SQLSTATE behind a driver error, through SQLAlchemy's wrapping."""
    seen: BaseException | None = error
    while seen is not None:
        state = getattr(seen, "sqlstate", None)
        if isinstance(state, str):
            return state
        seen = getattr(seen, "orig", None) or seen.__cause__
    return None
