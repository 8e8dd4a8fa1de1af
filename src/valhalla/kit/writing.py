"""Who may write while writes are closed: the control plane's own upkeep, and callers who were let through.

The default is nobody: work that nobody vouched for, a bug past the middleware included, reads only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from contextvars import ContextVar
from typing import Final

_allowed: Final[ContextVar[bool]] = ContextVar("valhalla_may_write", default=False)


def may_write() -> bool:
    """Say whether this context writes even while writes are closed."""
    return _allowed.get()


def admit(*, writing: bool) -> None:
    """Say of the request that this context serves whether it may write while writes are closed."""
    _allowed.set(writing)


@contextlib.contextmanager
def upkeep() -> Generator[None]:
    """Let everything inside write, tasks that begin there included: what must go on whatever users may do."""
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)
