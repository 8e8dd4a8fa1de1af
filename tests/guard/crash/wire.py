"""A wire to Postgres that can be cut, before or after the server has done what was asked."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, suppress
from urllib.parse import urlsplit

# how every request of the store to the guard's function is recognised
_MARK = b'"do":"'


class Wire:
    """Forwards connections to the server of ``url``; ``url`` of its own leads through it.

    The next ``lose_requests`` requests of the store are dropped together with their connection; of the next
    ``lose_replies`` the server's answer is.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{parts.port}", f":{self._listener.getsockname()[1]}")
        self.lose_requests = 0
        self.lose_replies = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(self._target)
                except OSError:
                    near.close()
                    continue
                deaf = threading.Event()
                threading.Thread(target=self._forth, args=(near, far, deaf), daemon=True).start()
                threading.Thread(target=self._back, args=(near, far, deaf), daemon=True).start()

    def _forth(self, near: socket.socket, far: socket.socket, deaf: threading.Event) -> None:
        with closing(near), closing(far), suppress(OSError):
            while data := near.recv(65_536):
                if _MARK in data and self.lose_requests:
                    self.lose_requests -= 1
                    near.shutdown(socket.SHUT_RDWR)
                    return
                if _MARK in data and self.lose_replies:
                    self.lose_replies -= 1
                    deaf.set()
                far.sendall(data)

    def _back(self, near: socket.socket, far: socket.socket, deaf: threading.Event) -> None:
        with suppress(OSError):
            while data := far.recv(65_536):
                if deaf.is_set():
                    break
                near.sendall(data)
        # also after a reset: who waits must hear that nobody answers any more
        with suppress(OSError):
            near.shutdown(socket.SHUT_RDWR)
