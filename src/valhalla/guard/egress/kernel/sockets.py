"""The sockets that are open when a filter begins, by where they lead; and addresses as the kernel writes them."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from valhalla.guard.egress.audit.sockets import endpoint
from valhalla.guard.egress.endpoints import UNIX

Where = tuple[str, int | None]


def leading_out(allowed: Callable[[str, int | None], bool]) -> tuple[int, ...]:
    """Return the descriptors of this process' open sockets that lead to no allowed endpoint."""
    return tuple(descriptor for descriptor in _sockets() if _leads_out(descriptor, allowed))


def _sockets() -> list[int]:
    found: list[int] = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(entry).startswith("socket:"):  # noqa: PTH115 - one call
                found.append(int(entry.name))
        except OSError:
            # closed since it was listed
            continue
    return found


def _leads_out(descriptor: int, allowed: Callable[[str, int | None], bool]) -> bool:
    try:
        borrowed = socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        family = int(borrowed.family)
        try:
            peer = borrowed.getpeername()
        except OSError:
            # without a peer a stream goes nowhere, but a datagram goes anywhere
            return family in (socket.AF_INET, socket.AF_INET6)
        where = endpoint(family, peer)
        # a pair of sockets has no name
        if where is None or peer in ("", b""):
            return False
        return not allowed(*where)
    finally:
        # it is not ours to close
        borrowed.detach()


def decode(raw: bytes) -> Where | None:
    """Read a ``sockaddr``; ``None`` if it names nothing to connect to."""
    if len(raw) < 2:
        return None
    family = struct.unpack_from("=H", raw)[0]
    if family == socket.AF_INET and len(raw) >= 8:
        return socket.inet_ntop(socket.AF_INET, raw[4:8]), struct.unpack_from("!H", raw, 2)[0]
    if family == socket.AF_INET6 and len(raw) >= 24:
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack_from("!H", raw, 2)[0]
    if family == socket.AF_UNIX:
        path = raw[2:]
        if path[:1] == b"\0":
            return f"{UNIX}@{os.fsdecode(path[1:].rstrip(bytes(1)))}", None
        return UNIX + os.path.abspath(os.fsdecode(path.split(b"\0")[0])), None  # noqa: PTH100
    return f"family {family}", None
