"""Which seal this line of execution is in.

The interpreter's hooks are one per process and cannot be removed, so what they ask is one per process as well: a
ContextVar for blocks, the threads that the kernel holds, and the seal of a child that is sealed as a whole.
"""

from __future__ import annotations

from contextvars import ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from valhalla.guard.egress.seal import Seal


class Held:
    """A thread that a seal has for itself, whether the kernel filters it, and the pools that were made on it."""

    def __init__(self, seal: Seal, filtered: bool) -> None:
        self.seal = seal
        self.filtered = filtered
        self.executors: WeakSet[Any] = WeakSet()


BLOCK: Final[ContextVar[Seal | None]] = ContextVar("valhalla_seal", default=None)
HELD: Final[dict[int, Held]] = {}
WHOLE: Final[list[Seal]] = []


def active() -> Seal | None:
    """Return the seal that holds this line of execution."""
    seal = BLOCK.get()
    if seal is not None and not seal.lifted:
        return seal
    if HELD and (held := HELD.get(get_ident())) is not None:
        return held.seal
    return WHOLE[0] if WHOLE else None


def carried() -> Seal | None:
    """Return the seal that work which is handed on has to take along; a sealed process has it everywhere."""
    seal = active()
    return None if WHOLE and seal is WHOLE[0] else seal


def held() -> Held | None:
    """Return what this thread is to its seal, ``None`` if no seal has it for itself."""
    return HELD.get(get_ident()) if HELD else None


def filtered() -> bool:
    """Say whether the kernel filters this thread."""
    mine = held()
    return mine is not None and mine.filtered
