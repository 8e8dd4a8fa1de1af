"""The CEL engine without the shell that its package imports as well: a terminal's libraries, 12 MB of each process."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

_SHELL: Final = "cel.cli"


@contextmanager
def _without_shell() -> Generator[None]:
    if "cel" in sys.modules:
        yield
        return
    # taken back at once: who wants the shell imports it as if nothing had been
    sys.modules[_SHELL] = ModuleType(_SHELL)
    try:
        yield
    finally:
        del sys.modules[_SHELL]


with _without_shell():
    import cel

__all__ = ["cel"]
