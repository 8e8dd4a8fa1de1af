"""Linux' namespaces, with nothing but libc: a network of its own, with the addresses that lead out of it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from valhalla.guard.egress.errors import CannotSeal
from valhalla.guard.egress.kernel.install import LIBC

Address = tuple[str, int]

_NEW_USER: Final = 0x10000000
_NEW_MOUNTS: Final = 0x00020000
_NEW_NETWORK: Final = 0x40000000
_BIND: Final = 4096
_PRIVATE: Final = 0x40000 | 0x4000
_SET_FLAGS: Final = 0x8914
_SET_ADDRESS: Final = 0x8916
_SET_MASK: Final = 0x891C
_UP: Final = 0x41
_LOOPBACK_INDEX: Final = 1
# taken before the fork: in the child between fork and exec nothing is looked up
_UNSHARE: Final[Any] = getattr(LIBC, "unshare", None)
_MOUNT: Final[Any] = getattr(LIBC, "mount", None)


def separate() -> None:
    """Leave this machine's network and mounts: as root if possible, else as the same user in a namespace of users.

    Raises:
        CannotSeal: the kernel allows neither.
    """
    if _UNSHARE is None:
        raise CannotSeal("this platform has no namespaces")
    if os.geteuid() == 0 and _UNSHARE(_NEW_MOUNTS | _NEW_NETWORK) == 0:
        return _private()
    user, group = os.geteuid(), os.getegid()
    if _UNSHARE(_NEW_USER | _NEW_MOUNTS | _NEW_NETWORK) != 0:
        raise CannotSeal(f"the kernel refuses namespaces: {os.strerror(ctypes.get_errno())}")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return _private()


def _private() -> None:
    if _MOUNT(b"none", b"/", None, _PRIVATE, None) != 0:
        raise CannotSeal(f"mounts cannot be made private: {os.strerror(ctypes.get_errno())}")


def cover(path: str, with_what: str) -> bool:
    """Let ``path`` show another file to this process and its children; say whether that was possible."""
    return _MOUNT(os.fsencode(with_what), os.fsencode(path), None, _BIND, None) == 0


def listen(addresses: Sequence[Address]) -> list[socket.socket]:
    """Bring up the loopback, with ``addresses`` on it, and listen there; what IPv6 cannot do is left out.

    Raises:
        CannotSeal: an address cannot be had.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH22x", b"lo", _UP))
        for number, host in enumerate(sorted({host for host, _ in addresses if ":" not in host}), 1):
            if not host.startswith("127."):
                label = f"lo:{number}".encode()
                _address(control, _SET_ADDRESS, label, host)
                _address(control, _SET_MASK, label, "255.255.255.255")
    for host in sorted({host for host, _ in addresses if ":" in host} - {"::1"}):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
            packed = struct.pack("=16sIi", socket.inet_pton(socket.AF_INET6, host), 128, _LOOPBACK_INDEX)
            fcntl.ioctl(control, _SET_ADDRESS, packed)
    return [door for address in addresses if (door := _door(address)) is not None]


def _address(control: socket.socket, what: int, label: bytes, host: str) -> None:
    raw = struct.pack("=16sHH4s8x8x", label, socket.AF_INET, 0, socket.inet_aton(host))
    fcntl.ioctl(control, what, raw)


def _door(address: Address) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        return socket.create_server(address, family=family, backlog=128)
    except OSError as error:
        if address[0] == "::1" and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise CannotSeal(f"{address[0]}:{address[1]} cannot be had in the new network: {error.strerror}") from error


def local_daemons() -> list[str]:
    """Return the Unix sockets of this machine that have a path: a network of one's own does not end them."""
    found: set[str] = set()
    try:
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]
    except OSError:
        return []
    for line in lines:
        words = line.split(None, 7)
        if len(words) == 8 and words[7].startswith("/") and _is_socket(words[7]):
            found.add(words[7])
    return sorted(found)


def _is_socket(path: str) -> bool:
    try:
        return Path(path).is_socket()
    except OSError:
        # in a directory of somebody else's: who may not look at it cannot connect to it either
        return False
