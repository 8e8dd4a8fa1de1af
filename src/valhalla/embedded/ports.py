"""Loopback ports: chosen once, kept in a file so that URLs stay the same, chosen anew when somebody took one."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from valhalla.embedded.accounts import private_file
from valhalla.kernel.problems import Unavailable

HOST: Final = "127.0.0.1"
# below the range from which systems give outgoing connections theirs, which would collide now and then
_LOWEST, _HIGHEST = 15_000, 32_000
VALKEY_BUS_OFFSET: Final = 10_000
"""Valkey's cluster bus listens this far above its port, so its port is at most 55,535."""

_OFFSETS: Mapping[str, tuple[int, ...]] = {"valkey": (0, VALKEY_BUS_OFFSET)}


def is_free(port: int) -> bool:
    """Say whether a server could bind ``port`` on the loopback address now."""
    with socket.socket() as probe:
        # as the servers do, so that connections of the previous run in TIME_WAIT do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


class Ports:
    """The ports of one data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ports = _read(path)

    def take(self, service: str) -> int:
        """Return the service's port: its last one when that is free, else a new one, which is written down.

        Raises:
            Unavailable: no free port was found.
        """
        port = self._ports.get(service)
        if port is None or not self._usable(service, port):
            return self.change(service)
        return port

    def change(self, service: str) -> int:
        """Choose a new port for the service and write it down.

        Raises:
            Unavailable: no free port was found.
        """
        taken = {port for name, port in self._ports.items() if name != service}
        for _ in range(200):
            port = random.randint(_LOWEST, _HIGHEST)  # noqa: S311 - spreads load, guards nothing
            if port not in taken and port != self._ports.get(service) and self._usable(service, port):
                self._ports[service] = port
                private_file(self._path, json.dumps(self._ports), None)
                return port
        raise Unavailable(service, f"no free port for the embedded {service} between {_LOWEST} and {_HIGHEST}")

    @staticmethod
    def _usable(service: str, port: int) -> bool:
        return all(port + offset <= 65_535 and is_free(port + offset) for offset in _OFFSETS.get(service, (0,)))


def _read(path: Path) -> dict[str, int]:
    try:
        found: object = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    pairs = cast("dict[str, object]", found)
    return {name: port for name, port in pairs.items() if isinstance(port, int) and 1024 <= port <= 65_535}
