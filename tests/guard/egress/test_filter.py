"""The filter of a held thread, run on a machine of our own: both architectures, every rule."""

from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.guard.egress.machine import verdict

from valhalla.guard.egress.child import watch
from valhalla.guard.egress.kernel import bpf
from valhalla.guard.egress.kernel.contracts import Refused
from valhalla.guard.egress.kernel.filter import Plan, build, runs
from valhalla.guard.egress.kernel.syscalls import AARCH64, X86_64, Architecture

DENY, UNKNOWN = bpf.ERRNO | errno.EPERM, bpf.ERRNO | errno.ENOSYS
INET, STREAM, DGRAM = socket.AF_INET, socket.SOCK_STREAM, socket.SOCK_DGRAM
NONBLOCK = 0o4000
THREAD = 0x3D0F00
POINTER = 0x7F12_3456_7890

both = pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=["x86_64", "aarch64"])

RULES = [
    ("execve", (), Plan(), DENY),
    ("unlinkat", (), Plan(), DENY),
    ("unlinkat", (), Plan(files=True), bpf.ALLOW),
    ("renameat2", (), Plan(), DENY),
    ("io_uring_setup", (), Plan(), DENY),
    ("clone3", (POINTER, 88), Plan(), UNKNOWN),
    ("clone", (THREAD,), Plan(), bpf.ALLOW),
    ("clone", (17,), Plan(), DENY),
    ("socket", (INET, STREAM | NONBLOCK), Plan(), bpf.ALLOW),
    ("socket", (INET, DGRAM), Plan(), DENY),
    ("socket", (10, DGRAM | NONBLOCK), Plan(), DENY),
    ("socket", (1, DGRAM), Plan(), bpf.ALLOW),
    ("socket", (17, 3), Plan(), DENY),
    ("connect", (5, POINTER, 16), Plan(), DENY),
    ("connect", (5, POINTER, 16), Plan(ask=(16, 28)), bpf.NOTIFY),
    ("connect", (5, POINTER, 110), Plan(ask=(16, 28)), DENY),
    ("connect", (5, POINTER, 110), Plan(ask=(16, 28), ask_all=True), bpf.NOTIFY),
    ("sendto", (9, POINTER, 3, 0, 0, 0), Plan((7,)), bpf.ALLOW),
    ("sendto", (7, POINTER, 3, 0, 0, 0), Plan((7,)), DENY),
    ("sendto", (9, POINTER, 3, 0, POINTER, 16), Plan(), DENY),
    # a pointer whose low half is nothing
    ("sendto", (9, POINTER, 3, 0, 0x7F00_0000_0000, 16), Plan(), DENY),
    ("sendmsg", (9, POINTER, 0), Plan(), DENY),
    ("sendmsg", (9, POINTER, 0), Plan(ask=(16,)), bpf.ALLOW),
    ("sendmsg", (7, POINTER, 0), Plan((7,), ask=(16,)), DENY),
    ("sendmsg", (9, POINTER, 0x20000000), Plan(ask=(16,)), DENY),
    ("sendmmsg", (9, POINTER, 1), Plan(ask=(16,)), DENY),
    ("write", (1, POINTER, 3), Plan((7,)), bpf.ALLOW),
    ("write", (7, POINTER, 3), Plan((6, 7, 8)), DENY),
    ("splice", (7, 0, 1, 0), Plan((7,)), bpf.ALLOW),
    ("splice", (1, 0, 7, 0), Plan((7,)), DENY),
    ("dup", (7,), Plan((7,)), DENY),
    ("fcntl", (7, 1030), Plan((7,)), DENY),
    ("fcntl", (7, 3), Plan((7,)), bpf.ALLOW),
]


@both
@pytest.mark.parametrize(("name", "arguments", "plan", "expected"), RULES)
def test_a_rule(machine: Architecture, name: str, arguments: tuple[int, ...], plan: Plan, expected: int) -> None:
    assert verdict(build(plan, machine), machine.audit, machine.calls[name], *arguments) == expected


@both
def test_calls_in_another_dress_are_refused(machine: Architecture) -> None:
    program = build(Plan(), machine)
    other = AARCH64 if machine is X86_64 else X86_64
    assert verdict(program, other.audit, 0) == DENY
    assert verdict(program, 0x40000003, 102) == DENY
    assert verdict(program, machine.audit, 0x40000000 | machine.calls["write"]) == DENY


@both
def test_what_is_not_named_is_let_through(machine: Architecture) -> None:
    program = build(Plan((3, 4, 9)), machine)
    quiet = set(range(460)) - set(machine.calls.values())
    assert {verdict(program, machine.audit, number, 3, 3, 3) for number in quiet} == {bpf.ALLOW}


@given(st.sets(st.integers(3, 2000), max_size=300), st.integers(0, 2010))
def test_exactly_the_listed_descriptors_are_refused(listed: set[int], asked: int) -> None:
    program = build(Plan(tuple(listed)), X86_64)
    expected = DENY if asked in listed else bpf.ALLOW
    assert verdict(program, X86_64.audit, X86_64.calls["write"], asked) == expected


@given(st.sets(st.integers(0, 100)))
def test_runs_are_the_same_numbers(numbers: set[int]) -> None:
    found = runs(numbers)
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(numbers)


def test_too_many_sockets_are_refused_not_forgotten() -> None:
    with pytest.raises(Refused, match="too many"):
        build(Plan(tuple(range(0, 4000, 2))), X86_64)


@both
def test_the_watch_asks_about_addresses_only(machine: Architecture) -> None:
    program, calls = watch.program(machine), machine.calls
    assert verdict(program, machine.audit, calls["connect"], 3, POINTER, 16) == bpf.NOTIFY
    assert verdict(program, machine.audit, calls["sendto"], 3, POINTER, 1, 0, 0) == bpf.ALLOW
    assert verdict(program, machine.audit, calls["sendto"], 3, POINTER, 1, 0, POINTER) == bpf.NOTIFY
    assert verdict(program, machine.audit, calls["sendto"], 3, POINTER, 1, 0, 0x7F00_0000_0000) == bpf.NOTIFY
    assert verdict(program, machine.audit, calls["execve"]) == bpf.ALLOW
