"""Connections for callers in threads: taken from a stack, put back after one exchange."""

from __future__ import annotations

import os
import socket
import struct
import sys
import weakref
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
        if type(self._socket) is socket.socket and sys.platform != "win32":
            _bound(self._socket)
        self._replies = Replies()

    def ask(self, command: bytes) -> Any:
        """Send one command and return its reply.

        Raises:
            OSError, ValueError: the connection is of no further use.
        """
        try:
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
        except BlockingIOError as error:
            raise TimeoutError("the server did not answer in time") from error

    def close(self) -> None:
        """Let it go."""
        self._connection.disconnect()


def _bound(plain: socket.socket) -> None:
    """Let the kernel bound the waiting: Python's own timeouts ask it twice for each thing."""
    # the address may have said another one
    timeout = plain.gettimeout()
    if timeout is None:
        return
    plain.settimeout(None)
    each = struct.pack("@ll", int(timeout), int(timeout % 1 * 1e6))
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, each)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, each)


class Links:
    """As many connections as threads ask at once; a few stay open. A forked child opens its own."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._idle: list[Link] = []
        me = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: (links := me()) and links._forked())

    def _forked(self) -> None:
        # the parent's sockets: closing ours does not end its connections
        self._idle = []

    def ask(self, command: bytes) -> Any:
        """Return the reply to one command.

        Raises:
            Lost: there is no connection, or it broke.
        """
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
