"""As much of the Valkey protocol as the health check needs: commands of plain words, one reply each."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

from valhalla.embedded.ports import HOST


class RefusedError(Exception):
    """The server answered with an error; the text is its own."""


class Connection:
    """A connection to a local Valkey. Use it as a context manager.

    Raises:
        OSError: nobody answers within a second.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=1)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()

    def call(self, *words: str) -> str:
        """Send one command and return its simple, integer or bulk reply.

        Raises:
            RefusedError: the server answered with an error.
            OSError: the connection broke, or the reply is not one that we read.
        """
        parts = [word.encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts))
        line = self._file.readline()
        kind, text = line[:1], line[1:].decode(errors="replace").strip()
        if kind == b"-":
            raise RefusedError(text)
        if kind == b"$" and text.isdecimal():
            return self._file.read(int(text) + 2)[:-2].decode(errors="replace")
        if kind not in (b"+", b":"):
            raise ConnectionError(f"unexpected reply {line[:40]!r}")
        return text
