"""A machine that runs a filter's program as the kernel would, so that both architectures are tested on either."""

from __future__ import annotations

import struct

from valhalla.guard.egress.kernel import bpf

TESTS = {bpf.EQUAL: lambda a, k: a == k, bpf.ABOVE: lambda a, k: a > k}
TESTS |= {bpf.AT_LEAST: lambda a, k: a >= k, bpf.ANY_BIT: lambda a, k: bool(a & k)}


def verdict(program: bytes, audit: int, number: int, *arguments: int) -> int:
    """Return what the program answers to a call."""
    given = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, audit, 0, *(value & 0xFFFFFFFFFFFFFFFF for value in given))
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = word = 0
    while True:
        what, yes, no, value = code[at]
        at += 1
        if what == bpf.LOAD:
            word = struct.unpack_from("<I", data, value)[0]
        elif what == bpf.AND:
            word &= value
        elif what == bpf.JUMP:
            at += value
        elif what == bpf.RETURN:
            return value
        else:
            at += yes if TESTS[what](word, value) else no
