"""Run a program in this network namespace, whose only way out is a Unix socket, and say who is let in.

``namespace.py WAY_OUT ASKED COMMAND…``: port 8080 leads to WAY_OUT; whoever writes an address to ASKED hears whether
a connection from it arrives.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
import threading

_SIOCSIFFLAGS, _SIOCSIFADDR, _UP, _RUNNING = 0x8914, 0x8916, 0x1, 0x40
# packets can come from these
_OWN = ("192.0.2.21", "192.0.2.22", "192.0.2.48", "192.0.2.50")


def main(way_out: str, asked: str, *command: str) -> int:
    """Return what the program does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _UP | _RUNNING))
        for number, address in enumerate(_OWN):
            place = struct.pack("16sHH4s8x", f"lo:{number}".encode(), socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(control, _SIOCSIFADDR, place)
    target = socket.create_server(("127.0.0.1", 9000))
    threading.Thread(target=_accept, args=(target,), daemon=True).start()
    ways = socket.create_server(("127.0.0.1", 8080))
    threading.Thread(target=_serve, args=(ways, way_out), daemon=True).start()
    questions = socket.socket(socket.AF_UNIX)
    questions.bind(asked)
    questions.listen()
    threading.Thread(target=_answer, args=(questions,), daemon=True).start()
    return subprocess.call(command)


def _accept(server: socket.socket) -> None:
    while True:
        server.accept()[0].close()


def _serve(server: socket.socket, way_out: str) -> None:
    while True:
        inner, _ = server.accept()
        outer = socket.socket(socket.AF_UNIX)
        outer.connect(way_out)
        for source, sink in ((inner, outer), (outer, inner)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


def _answer(questions: socket.socket) -> None:
    while True:
        client, _ = questions.accept()
        with client, client.makefile() as lines:
            client.sendall(json.dumps(_arrives(lines.readline().strip())).encode() + b"\n")


def _arrives(address: str) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        try:
            probe.bind((address, 0))
            probe.connect(("127.0.0.1", 9000))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
