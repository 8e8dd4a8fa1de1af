"""A network of its own for a child process, which a test cuts and heals: a namespace behind a pair of interfaces."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from types import TracebackType
from typing import Self


def why_not() -> str | None:
    """Return why this machine has no networks of their own, None if it has."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if shutil.which("ip") is None:
        return "needs the program ip (iproute2)"
    name = f"vh-{secrets.token_hex(3)}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "this kernel or container lets nobody make network namespaces"
    subprocess.run(["ip", "netns", "del", name], check=False)
    return None


class Network:
    """``here`` is this side's address; ``wrap`` puts a command on the other side."""

    def __init__(self) -> None:
        tail = secrets.token_hex(3)
        self._name, self._near, self._far = f"vh-{tail}", f"vhn{tail}", f"vhf{tail}"
        subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}"
        self.here, self._there = f"{subnet}.1", f"{subnet}.2"

    def __enter__(self) -> Self:
        self._ip("netns", "add", self._name)
        self._ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self._name)
        self._ip("address", "add", f"{self.here}/30", "dev", self._near)
        self._ip("link", "set", self._near, "up")
        for words in (
            ("address", "add", f"{self._there}/30", "dev", self._far),
            ("link", "set", self._far, "up"),
            ("link", "set", "lo", "up"),
        ):
            self._ip("-n", self._name, *words)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["ip", "link", "del", self._near], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self._name], check=False, capture_output=True)

    def wrap(self, command: list[str]) -> list[str]:
        """Return the command that runs there."""
        return ["ip", "netns", "exec", self._name, *command]

    def cut(self) -> None:
        """Let nothing through, and tell neither side."""
        self._ip("-n", self._name, "link", "set", self._far, "down")

    def heal(self) -> None:
        """Let everything through again."""
        self._ip("-n", self._name, "link", "set", self._far, "up")

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)
