"""Putting a filter on the calling thread, with nothing but libc."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final

from valhalla.guard.egress.kernel.contracts import Refused
from valhalla.guard.egress.kernel.syscalls import architecture

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_PTRACER: Final = 0x59616D61
_SET_MODE_FILTER: Final = 1
_NEW_LISTENER: Final = 8

LIBC: Final[Any] = ctypes.CDLL(None, use_errno=True)
# taken once: inside of a seal, taking these is an attempt
_PRCTL: Final[Any] = LIBC.prctl if hasattr(LIBC, "prctl") else None
SYSCALL: Final[Any] = LIBC.syscall
CONNECT: Final[Any] = LIBC.connect
CONNECT.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


class _Instructions(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def be_traced_by(pid: int) -> None:
    """Let a child of ours look into this process, where the system lets only parents do that."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PTRACER, pid, 0, 0, 0)


def install(program: bytes, *, listener: bool, privileges: bool = False) -> int | None:
    """Put the program on this thread, for ever; return the descriptor of its listener, if one was asked for.

    ``privileges`` keeps those that set-user-id programs give, which takes CAP_SYS_ADMIN.

    Raises:
        Refused: the kernel does not do it.
    """
    machine = architecture()
    if not privileges and (_PRCTL is None or _PRCTL(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0):
        raise Refused(f"NO_NEW_PRIVS: {os.strerror(ctypes.get_errno())}")
    filters = _Instructions(len(program) // 8, program)
    flags = _NEW_LISTENER if listener else 0
    done = SYSCALL(
        ctypes.c_long(machine.calls["seccomp"]),
        ctypes.c_long(_SET_MODE_FILTER),
        ctypes.c_long(flags),
        ctypes.byref(filters),
    )
    if done < 0:
        raise Refused(f"seccomp: {os.strerror(ctypes.get_errno())}")
    return int(done) if listener else None
