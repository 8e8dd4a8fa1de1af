"""Audit events of processes, raw threads and foreign libraries."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from valhalla.guard.egress import excerpts

if TYPE_CHECKING:
    from valhalla.guard.egress.seal import Seal

# through ctypes a library that is loaded already gives the same calls without an event of their own
_SYMBOLS: Final = frozenset(
    {
        *("connect", "send", "sendto", "sendmsg", "sendmmsg", "write", "writev", "syscall", "system", "popen"),
        *("fork", "vfork", "execv", "execve", "execvp", "execvpe", "posix_spawn", "posix_spawnp", "kill"),
        *("unlink", "unlinkat", "rename", "renameat", "renameat2", "rmdir", "remove"),
    }
)


def _program(index: int, what: str = "start a process") -> Callable[[Seal, tuple[Any, ...]], None]:
    return lambda seal, args: seal.effect(what, excerpts.command(args[index]))


def _popen(seal: Seal, args: tuple[Any, ...]) -> None:
    seal.effect("start a process", excerpts.command(args[1] if args[1] is not None else args[0]))


def _fork(seal: Seal, args: tuple[Any, ...]) -> None:
    del args
    seal.effect("fork", "this process")


def _kill(seal: Seal, args: tuple[Any, ...]) -> None:
    if args[1] != 0:
        seal.effect("signal", f"process {args[0]} with {args[1]}")


def _thread(seal: Seal, args: tuple[Any, ...]) -> None:
    # threads of the threading module carry the seal; a raw one would lose it
    function = getattr(args[0], "__func__", None)
    if function is not getattr(Thread, "_bootstrap", None):
        seal.effect("start a raw thread", type(args[0]).__name__)


def _dlopen(seal: Seal, args: tuple[Any, ...]) -> None:
    # ctypes opens the interpreter itself while it is imported
    if args[0] is None and not hasattr(sys.modules.get("ctypes"), "pythonapi"):
        return
    seal.effect("load a library", excerpts.words(str(args[0])))


def _dlsym(seal: Seal, args: tuple[Any, ...]) -> None:
    if args[1] in _SYMBOLS:
        seal.effect("take a foreign function", str(args[1]))


CHECKS: Final[Mapping[str, Callable[[Seal, tuple[Any, ...]], None]]] = {
    "subprocess.Popen": _popen,
    "os.system": _program(0),
    "os.exec": _program(1, "become a program"),
    "os.posix_spawn": _program(1),
    "os.spawn": _program(2),
    "os.startfile": _program(0),
    "pty.spawn": _program(0),
    "os.fork": _fork,
    "os.forkpty": _fork,
    "os.kill": _kill,
    "os.killpg": _kill,
    "_thread.start_new_thread": _thread,
    "_thread.start_joinable_thread": _thread,
    "ctypes.dlopen": _dlopen,
    "ctypes.dlsym": _dlsym,
}
