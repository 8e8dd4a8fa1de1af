"""Which request, job or command this work belongs to: one id that goes wherever the work goes."""

from __future__ import annotations

import contextlib
import contextvars
import os
import re
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Final, ParamSpec, TypeVar

from valhalla.kernel.ids import new_id

P = ParamSpec("P")
T = TypeVar("T")

HEADER: Final = "X-Correlation-ID"
VARIABLE: Final = "VALHALLA_CORRELATION_ID"
"""The environment variable through which a program that we start hears of it."""

LONGEST: Final = 128
# it goes into headers, logs and file names: no blanks, no control characters, nothing beyond ASCII
_FORM: Final = re.compile(rf"[A-Za-z0-9._:@/+=-]{{1,{LONGEST}}}", re.ASCII)
CURRENT: Final[ContextVar[str | None]] = ContextVar("valhalla_correlation_id", default=None)
ACTING: Final[ContextVar[str | None]] = ContextVar("valhalla_principal", default=None)
"""Both for who cannot afford to call the functions below."""


def correlation_id() -> str | None:
    """Return the id of what is being served, as in its log lines, ledger entries and events."""
    return CURRENT.get()


@contextlib.contextmanager
def correlated(value: str | None) -> Generator[None]:
    """Give everything inside one correlation id."""
    token = CURRENT.set(value)
    try:
        yield
    finally:
        CURRENT.reset(token)


def correlate(value: str | None) -> None:
    """Give what follows in this thread, or task, one correlation id; for who has no block to put it around."""
    CURRENT.set(value)


def acting() -> str | None:
    """Return the id of who asked for what is being done, if that is known: for log lines, it decides nothing."""
    return ACTING.get()


def act_as(principal_id: str | None) -> None:
    """Say who asked for what follows in this thread, or task."""
    ACTING.set(principal_id)


def valid(value: str | None) -> str | None:
    """Return an id from outside if it has the form of one, else None."""
    return value if value is not None and _FORM.fullmatch(value) else None


def adopted(value: str | None) -> str:
    """Return an id from outside if it has the form of one, else a fresh one."""
    return valid(value) or new_id()


def inherited() -> str | None:
    """Return the id that whoever started this program gave to it, if its form is right."""
    return valid(os.environ.get(VARIABLE))


def carried(call: Callable[P, T]) -> Callable[P, T]:
    """Return ``call`` so that it runs in the context of here and now, in whichever thread it is called.

    Tasks and ``asyncio.to_thread`` carry the context by themselves; executors and threads do not. It may be called
    several times and at once.
    """
    context = contextvars.copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        # one context cannot be entered twice at the same time
        return context.copy().run(call, *args, **kwargs)

    return run
