"""Classic BPF as the kernel takes it: an assembler of the few instructions that a filter of system calls needs."""

from __future__ import annotations

import struct
from typing import Final

LOAD: Final = 0x20
JUMP: Final = 0x05
EQUAL: Final = 0x15
ABOVE: Final = 0x25
AT_LEAST: Final = 0x35
ANY_BIT: Final = 0x45
AND: Final = 0x54
RETURN: Final = 0x06

ALLOW: Final = 0x7FFF0000
NOTIFY: Final = 0x7FC00000
ERRNO: Final = 0x00050000

MAX_LENGTH: Final = 4096

NUMBER: Final = 0
ARCHITECTURE: Final = 4


def argument(index: int, *, high: bool = False) -> int:
    """Return the offset of a call's argument: its low half, on both of our architectures first, or its high one."""
    return 16 + 8 * index + (4 if high else 0)


class Program:
    """Instructions with forward jumps to labels. Conditional jumps are short, so each one skips a long one."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []
        self._jumps: list[tuple[int, str]] = []
        self._labels: dict[str, int] = {}

    def load(self, offset: int) -> None:
        """Load a word of the call's description."""
        self._code.append((LOAD, 0, 0, offset))

    def mask(self, bits: int) -> None:
        """Keep only some bits of what was loaded."""
        self._code.append((AND, 0, 0, bits))

    def answer(self, value: int) -> None:
        """End with a verdict."""
        self._code.append((RETURN, 0, 0, value))

    def go(self, label: str) -> None:
        """Jump on."""
        self._jumps.append((len(self._code), label))
        self._code.append((JUMP, 0, 0, 0))

    def when(self, test: int, value: int, label: str) -> None:
        """Jump on if the test of the loaded word holds."""
        self._code.append((test, 0, 1, value))
        self.go(label)

    def unless(self, test: int, value: int, label: str) -> None:
        """Jump on if the test of the loaded word does not hold."""
        self._code.append((test, 1, 0, value))
        self.go(label)

    def label(self, name: str) -> None:
        """Name the next instruction."""
        self._labels[name] = len(self._code)

    def __len__(self) -> int:
        return len(self._code)

    def assemble(self) -> bytes:
        """Return the program's bytes.

        Raises:
            ValueError: a jump leads back, which BPF does not have.
        """
        code = list(self._code)
        for at, label in self._jumps:
            distance = self._labels[label] - at - 1
            if distance < 0:
                raise ValueError(f"a jump leads back to {label}")
            code[at] = (JUMP, 0, 0, distance)
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
