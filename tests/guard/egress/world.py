"""What a sealed block may try to reach: servers on the loopback that count who came."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from valhalla.guard.egress import Layer, sealed

PYTHON = [Layer.PROTOCOL, Layer.AUDIT]


class Web:
    """An HTTP server that remembers methods, bodies and connections."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.connections = 0
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                web.seen.append((self.command, body))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            do_GET = do_POST = do_DELETE = handle_one  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Stay quiet: clients that are cut off are the point."""

            def get_request(self) -> Any:
                accepted = super().get_request()
                web.connections += 1
                return accepted

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/pay"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def posts(self) -> int:
        return sum(method == "POST" for method, _ in self.seen)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Mail:
    """An SMTP server that says yes to everything and counts messages."""

    def __init__(self) -> None:
        self.messages = 0
        mail = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 here\r\n")
                while line := self.rfile.readline():
                    if line.upper().startswith(b"DATA"):
                        self.wfile.write(b"354 go on\r\n")
                        while self.rfile.readline() not in (b".\r\n", b""):
                            pass
                        mail.messages += 1
                    self.wfile.write(b"250 fine\r\n")

        socketserver.ThreadingTCPServer.daemon_threads = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class World:
    """Everything a probe may need; ``patience`` is for clients that wait for answers that cannot come, in seconds."""

    web: Web
    mail: Mail
    folder: Path
    postgres: str
    valkey: str
    patience: float = 10.0
    closers: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])

    def closing(self, made: Any) -> Any:
        """Close ``made`` when the test ends."""
        self.closers.append(made.close)
        return made


def soon(holds: Callable[[], object], seconds: float = 5.0) -> bool:
    """Wait until something holds; what a server does after a client's call takes a moment."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def need_kernel() -> None:
    """Skip where the kernel has no filter for threads."""
    with sealed(layers=[Layer.KERNEL]) as seal:
        seal.run(lambda: None)
    cover = seal.coverage.layers[Layer.KERNEL]
    if not cover.active:
        pytest.skip(f"no kernel layer: {cover.reason}")


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
