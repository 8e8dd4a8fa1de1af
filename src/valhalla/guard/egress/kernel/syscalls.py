"""Numbers of system calls, which differ between architectures."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from typing import Final

from valhalla.guard.egress.kernel.contracts import Refused


@dataclass(frozen=True, slots=True)
class Architecture:
    """``audit`` is the kernel's name of it; ``calls`` maps names that it has to numbers."""

    audit: int
    calls: dict[str, int]


_SHARED: Final = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "clone3": 435}
X86_64: Final = Architecture(
    0xC000003E,
    {
        **_SHARED,
        "write": 1,
        "pwrite64": 18,
        "writev": 20,
        "dup": 32,
        "dup2": 33,
        "sendfile": 40,
        "socket": 41,
        "connect": 42,
        "sendto": 44,
        "sendmsg": 46,
        "clone": 56,
        "fork": 57,
        "vfork": 58,
        "execve": 59,
        "fcntl": 72,
        "rename": 82,
        "rmdir": 84,
        "unlink": 87,
        "unlinkat": 263,
        "renameat": 264,
        "splice": 275,
        "tee": 276,
        "vmsplice": 278,
        "dup3": 292,
        "pwritev": 296,
        "sendmmsg": 307,
        "renameat2": 316,
        "execveat": 322,
        "pwritev2": 328,
        "seccomp": 317,
    },
)
AARCH64: Final = Architecture(
    0xC00000B7,
    {
        **_SHARED,
        "dup": 23,
        "dup3": 24,
        "fcntl": 25,
        "unlinkat": 35,
        "renameat": 38,
        "write": 64,
        "writev": 66,
        "pwrite64": 68,
        "pwritev": 70,
        "sendfile": 71,
        "vmsplice": 75,
        "splice": 76,
        "tee": 77,
        "socket": 198,
        "connect": 203,
        "sendto": 206,
        "sendmsg": 211,
        "clone": 220,
        "execve": 221,
        "sendmmsg": 269,
        "renameat2": 276,
        "execveat": 281,
        "pwritev2": 287,
        "seccomp": 277,
    },
)


def architecture() -> Architecture:
    """Return this machine's.

    Raises:
        Refused: the filter is not written for it.
    """
    if sys.platform != "linux":
        raise Refused(f"{sys.platform} has no seccomp")
    machine = platform.machine().lower()
    if sys.maxsize <= 2**32 or machine not in ("x86_64", "amd64", "aarch64", "arm64"):
        raise Refused(f"no filter is written for {machine} in {64 if sys.maxsize > 2**32 else 32} bit")
    return X86_64 if machine in ("x86_64", "amd64") else AARCH64
