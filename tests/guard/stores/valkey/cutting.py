"""A wire that can be cut: between us and the server, before or after it has done what was asked."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, suppress
from urllib.parse import urlsplit


class Wire:
    """Forwards connections to the server of ``url``; ``url`` of its own leads through it.

    ``lose_replies`` next replies are dropped together with their connection, ``lose_requests`` likewise.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{parts.port}", f":{self._listener.getsockname()[1]}")
        self.lose_replies = 0
        self.lose_requests = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        """Take turns: one exchange after the other is all that the threads' connections do."""
        far = socket.create_connection(self._target)
        with closing(near), closing(far), suppress(OSError):
            while data := near.recv(65_536):
                mine = b"EVAL" in data
                if mine and self.lose_requests:
                    self.lose_requests -= 1
                    return
                far.sendall(data)
                reply = far.recv(65_536)
                if mine and self.lose_replies:
                    self.lose_replies -= 1
                    return
                near.sendall(reply)
