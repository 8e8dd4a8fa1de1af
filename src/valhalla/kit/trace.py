"""W3C trace context: which trace this work belongs to, read strictly from outside and handed on."""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
from collections.abc import Generator
from contextvars import ContextVar
from typing import Final, NamedTuple

HEADER: Final = "traceparent"
VARIABLE: Final = "TRACEPARENT"
"""The environment variable of the same form, as OpenTelemetry's tools read it."""

# https://www.w3.org/TR/trace-context/#traceparent-header: lower case only; a later version may say more after the flags
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_LONGEST: Final = 512
# of its own: a program that seeds the common one would repeat its ids
_random: Final = random.Random()  # noqa: S311
os.register_at_fork(after_in_child=_random.seed)
_SAMPLED: Final = 0x01


class Trace(NamedTuple):
    """One span's place: ids in lower-case hex (32 and 16 digits); ``parent_id`` is the span that caused this one.

    Each request makes one: a tuple costs a third of a frozen dataclass.
    """

    trace_id: str
    span_id: str
    sampled: bool = True
    parent_id: str | None = None

    def child(self) -> Trace:
        """Return the place of a new span under this one."""
        return Trace(self.trace_id, new_span_id(), self.sampled, self.span_id)


def new_trace_id() -> str:
    """Return 32 random hex digits, never all zero."""
    return f"{secrets.randbits(128) or 1:032x}"


def new_span_id() -> str:
    """Return 16 random hex digits, never all zero."""
    return f"{secrets.randbits(64) or 1:016x}"


def new_trace(*, sampled: bool = True) -> Trace:
    """Return the first span of a new trace."""
    # one draw for both ids, and no system call: they must differ, not be secret
    drawn = f"{_random.getrandbits(192) or 1:048x}"
    return Trace(drawn[:32], drawn[32:], sampled)


def parse(header: str | bytes | None) -> Trace | None:
    """Return the caller's span that a ``traceparent`` names, None for one that is absent or not exactly of its form."""
    if header is None or len(header) > _LONGEST:
        return None
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    # version 00 ends after the flags, ff is forbidden, and an id of zeros is none
    if version == "ff" or (version == "00" and more is not None) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Trace(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def render(trace: Trace) -> str:
    """Write the ``traceparent`` that tells a callee which span calls it."""
    return f"00-{trace.trace_id}-{trace.span_id}-{'01' if trace.sampled else '00'}"


def adopt(header: str | bytes | None) -> Trace:
    """Return a new span under the caller's, or the first one of a new trace when the caller names none."""
    caller = parse(header)
    return new_trace() if caller is None else caller.child()


CURRENT: Final[ContextVar[Trace | None]] = ContextVar("valhalla_trace", default=None)
"""For who cannot afford to call ``current``."""


def current() -> Trace | None:
    """Return the span that this code runs in."""
    return CURRENT.get()


def trace_on(trace: Trace | None) -> None:
    """Run what follows in this thread, or task, in one span; for who has no block to put it around."""
    CURRENT.set(trace)


@contextlib.contextmanager
def traced(trace: Trace | None) -> Generator[None]:
    """Run everything inside in one span."""
    token = CURRENT.set(trace)
    try:
        yield
    finally:
        CURRENT.reset(token)
