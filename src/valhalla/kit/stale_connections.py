"""Pooled connections that the server ended while they lay idle: told without a query, and replaced before use.

A ping would cost a round trip for each checkout (SQLAlchemy's ``pool_pre_ping``); that the server closed its end is
known here already.
"""

from __future__ import annotations

import select
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DisconnectionError

# what the server sent before it closed comes first: an error, then the end
_READS: Final = 3


def replace_stale(engine: Engine) -> None:
    """Let a pool of the event loop replace an idle connection that has ended, instead of handing it out."""

    def check(connection: Any, _record: object, _proxy: object) -> None:
        if connection.driver_connection.is_closed():
            raise _ended()

    event.listen(engine, "checkout", check)


def replace_stale_blocking(engine: Engine) -> None:
    """Like ``replace_stale``, for a pool of threads: nobody reads the socket of an idle connection."""
    # not at the top: programs that only have an event loop would wait for it at their start
    from psycopg import OperationalError

    def check(connection: Any, _record: object, _proxy: object) -> None:
        poll = select.poll()
        try:
            poll.register(connection.fileno(), select.POLLIN)
            for _ in range(_READS):
                if not poll.poll(0):
                    return
                connection.pgconn.consume_input()
        except OperationalError as error:
            raise _ended() from error

    event.listen(engine, "checkout", check)


def _ended() -> DisconnectionError:
    return DisconnectionError("the server ended this connection while it was idle")
