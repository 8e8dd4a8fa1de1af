"""Connections for callers in threads: taken from a stack, put back after one exchange."""

from __future__ import annotations

import os
from typing import Any, Final, cast

from redis import connection as redis_connection
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from valhalla.guard.stores.valkey.faults import Lost
from valhalla.guard.stores.valkey.replies import MISSING, Replies

_IDLE: Final = 64


class Link:
    """One connection that redis-py has opened and logged in; from then on only its socket is used."""

    def __init__(self, url: str, timeout: float) -> None:
        """Connect.

        Raises:
            RedisError, OSError: the server cannot be reached or refuses the credentials.
        """
        options: dict[str, Any] = cast("Any", redis_connection).parse_url(url)
        kind = options.pop("connection_class", redis_connection.Connection)
        settings = {"socket_timeout": timeout, "socket_connect_timeout": timeout} | options
        self._connection: Any = kind(**settings | {"protocol": 2, "retry": Retry(NoBackoff(), 0)})
        self._connection.connect()
        self._socket: Any = self._connection._sock
        self._replies = Replies()

    def ask(self, command: bytes) -> Any:
        """Send one command and return its reply.

        Raises:
            OSError, ValueError: the connection is of no further use.
        """
        self._socket.sendall(command)
        replies = self._replies
        while True:
            data = self._socket.recv(65_536)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            replies.feed(data)
            reply = replies.take()
            if reply is not MISSING:
                return reply

    def close(self) -> None:
        """Let it go."""
        self._connection.disconnect()


class Links:
    """As many connections as threads ask at once; a few stay open. A forked child opens its own."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._idle: list[Link] = []
        self._owner = os.getpid()

    def ask(self, command: bytes) -> Any:
        """Return the reply to one command.

        Raises:
            Lost: there is no connection, or it broke.
        """
        if self._owner != os.getpid():
            # the parent's sockets: closing ours does not end its connections
            self._idle, self._owner = [], os.getpid()
        sent = False
        link: Link | None = None
        try:
            # another thread may take the last one in between
            try:
                link = self._idle.pop()
            except IndexError:
                link = Link(self._url, self._timeout)
            sent = True
            reply = link.ask(command)
        except BaseException as error:
            if link is not None:
                link.close()
            if isinstance(error, (OSError, ValueError, RedisError)):
                # a restart has broken the others too
                self.close()
                raise Lost(error, sent=sent) from error
            # an interrupt in the middle: the reply would come to the next caller
            raise
        if len(self._idle) < _IDLE:
            self._idle.append(link)
        else:
            link.close()
        return reply

    def close(self) -> None:
        """Close what is idle."""
        idle, self._idle = self._idle, []
        for link in idle:
            link.close()
