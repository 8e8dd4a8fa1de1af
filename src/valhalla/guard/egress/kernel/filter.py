"""The filter's rules: which system calls a held thread may not make. Pure: from numbers to a program."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from valhalla.guard.egress.kernel import bpf
from valhalla.guard.egress.kernel.bpf import ABOVE, AT_LEAST, EQUAL, Program, argument
from valhalla.guard.egress.kernel.contracts import Refused
from valhalla.guard.egress.kernel.syscalls import Architecture

_NEVER: Final = (
    *("execve", "execveat", "fork", "vfork"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
)
_FILES: Final = ("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2")
# the argument that names the descriptor which is written to, or passed on under another number
_WRITES: Final = {
    "write": 0,
    "pwrite64": 0,
    "writev": 0,
    "pwritev": 0,
    "pwritev2": 0,
    "sendfile": 0,
    "splice": 2,
    "tee": 1,
    "vmsplice": 0,
    "dup": 0,
    "dup2": 0,
    "dup3": 0,
}
_X32: Final = 0x40000000
_CLONE_THREAD: Final = 0x00010000
_FAST_OPEN: Final = 0x20000000
_KIND: Final = 0xF
_STREAM: Final = 1
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_F_DUPFD, _F_DUPFD_CLOEXEC = 0, 1030


@dataclass(frozen=True, slots=True)
class Plan:
    """What a filter has to do.

    ``descriptors`` are the open sockets that lead where nothing may go. ``ask`` are the lengths of addresses whose
    connections a supervisor decides; ``ask_all`` asks about every length; without either no connection is made.
    ``files`` says whether files may be removed and renamed.
    """

    descriptors: tuple[int, ...] = ()
    ask: tuple[int, ...] = ()
    ask_all: bool = False
    files: bool = False

    @property
    def asks(self) -> bool:
        """Whether a supervisor is needed."""
        return self.ask_all or bool(self.ask)


def build(plan: Plan, machine: Architecture) -> bytes:
    """Return the program.

    Raises:
        Refused: too many sockets are open for one program.
    """
    program = Program()
    program.load(bpf.ARCHITECTURE)
    program.unless(EQUAL, machine.audit, "deny")
    program.load(bpf.NUMBER)
    program.when(AT_LEAST, _X32, "deny")
    calls = machine.calls
    for name in (*_NEVER, *(() if plan.files else _FILES)):
        if name in calls:
            program.when(EQUAL, calls[name], "deny")
    # its flags are behind a pointer; libraries fall back to clone
    program.when(EQUAL, calls["clone3"], "unknown")
    program.when(EQUAL, calls["clone"], "clone")
    program.when(EQUAL, calls["socket"], "socket")
    program.when(EQUAL, calls["connect"], "connect")
    program.when(EQUAL, calls["sendto"], "sendto")
    program.when(EQUAL, calls["sendmsg"], "sendmsg")
    program.when(EQUAL, calls["sendmmsg"], "deny")
    program.when(EQUAL, calls["fcntl"], "fcntl")
    for name, index in _WRITES.items():
        if name in calls:
            program.when(EQUAL, calls[name], f"descriptor{index}")
    program.go("allow")
    _sections(program, plan)
    if len(program) > bpf.MAX_LENGTH:
        raise Refused(f"{len(plan.descriptors)} open sockets are too many for a filter")
    return program.assemble()


def _sections(program: Program, plan: Plan) -> None:
    program.label("clone")
    program.load(argument(0))
    program.when(bpf.ANY_BIT, _CLONE_THREAD, "allow")
    program.go("deny")

    program.label("socket")
    program.load(argument(0))
    for family in (_UNIX, _NETLINK):
        program.when(EQUAL, family, "allow")
    program.when(EQUAL, _INET, "kind")
    program.unless(EQUAL, _INET6, "deny")
    program.label("kind")
    # datagrams need no connection that could be judged
    program.load(argument(1))
    program.mask(_KIND)
    program.when(EQUAL, _STREAM, "allow")
    program.go("deny")

    program.label("connect")
    if plan.ask_all:
        program.go("ask")
    program.load(argument(2))
    for length in plan.ask:
        program.when(EQUAL, length, "ask")
    program.go("deny")

    _sends(program, plan)
    _descriptors(program, plan)


def _sends(program: Program, plan: Plan) -> None:
    program.label("sendto")
    for high in (False, True):
        program.load(argument(4, high=high))
        program.unless(EQUAL, 0, "deny")
    program.go("descriptor0")

    program.label("sendmsg")
    if not plan.asks:
        program.go("deny")
    program.load(argument(2))
    program.when(bpf.ANY_BIT, _FAST_OPEN, "deny")
    program.go("descriptor0")

    program.label("fcntl")
    program.load(argument(1))
    for command in (_F_DUPFD, _F_DUPFD_CLOEXEC):
        program.when(EQUAL, command, "descriptor0")
    program.go("allow")


def _descriptors(program: Program, plan: Plan) -> None:
    for index in (1, 2, 0):
        program.label(f"descriptor{index}")
        program.load(argument(index))
        if index:
            program.go("descriptors")
    program.label("descriptors")
    for first, last in runs(plan.descriptors):
        # one number, or all from the first to the last
        skip = f"after{first}"
        program.unless(AT_LEAST, first, skip)
        program.when(ABOVE, last, skip)
        program.go("deny")
        program.label(skip)

    program.label("allow")
    program.answer(bpf.ALLOW)
    program.label("deny")
    program.answer(bpf.ERRNO | errno.EPERM)
    program.label("unknown")
    program.answer(bpf.ERRNO | errno.ENOSYS)
    program.label("ask")
    program.answer(bpf.NOTIFY)


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return consecutive numbers as (first, last)."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
