"""Light spans: what happens inside a request or a job, kept in a short list until its end tells whether it matters.

Code that is worth a span says ``with span("sandbox.create"):``. Outside of a request or job that is traced this costs
two looks at a context variable.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Protocol, Self

from valhalla.kit.correlation import acting, correlation_id
from valhalla.kit.trace import Trace, current, new_trace, parse, trace_on

Kind = Literal["internal", "server", "client", "producer", "consumer"]
_MOST: Final = 200


class Span(NamedTuple):
    """Something that took time; times in seconds, ``started`` since 1970."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: Kind
    started: float
    seconds: float
    failed: bool
    attributes: Mapping[str, Any] = {}


class Local:
    """The spans of one request or job in this process: at most 200, of more they are counted."""

    __slots__ = ("failed", "is_over", "left_out", "spans")

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.failed = False
        self.left_out = 0
        self.is_over = False

    def add(self, span: Span) -> None:
        """Keep one, from any thread; what ends after the whole is not waited for."""
        if self.is_over:
            return
        self.failed = self.failed or span.failed
        if len(self.spans) < _MOST:
            self.spans.append(span)
        else:
            self.left_out += 1


class Roots(Protocol):
    """Decides which traces begin sampled, and what is kept of what has ended."""

    def begin(self, traceparent: str | None) -> Trace:
        """Return the place of what begins now: under who caused it, or a trace of its own."""
        ...

    def end(self, root: Span, local: Local, correlation: str | None, principal: str | None, *, sampled: bool) -> None:
        """Take what has ended; neither waits nor raises."""
        ...


class Ever:
    """Whether spans were ever kept in this process: a program that never traces asks nothing else."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept = False


LOCAL: Final[ContextVar[Local | None]] = ContextVar("valhalla_spans", default=None)
"""Where the spans of what is being done are kept; for who cannot afford to call ``local``."""
EVER: Final = Ever()


def local() -> Local | None:
    """Return where the spans of what is being done are kept."""
    return LOCAL.get()


def keep_in(where: Local | None) -> None:
    """Keep the spans of what follows in this thread, or task, in one place; for who has no block to put it around."""
    EVER.kept = EVER.kept or where is not None
    LOCAL.set(where)


class span:  # noqa: N801 - reads as the statement that it is
    """A block that is a span, with or without ``async`` inside; it fails with an exception that is our fault."""

    __slots__ = ("_attributes", "_kind", "_local", "_name", "_started", "_token", "_trace")

    def __init__(self, name: str, *, kind: Kind = "internal", **attributes: Any) -> None:
        self._name = name
        self._kind: Kind = kind
        self._attributes = attributes
        self._local: Local | None = None
        self._trace: Trace | None = None
        self._token: Token[Local | None] | None = None
        self._started = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        where, outer = LOCAL.get(), current()
        if where is not None and outer is not None:
            self._local, self._trace = where, outer.child()
            trace_on(self._trace)
            self._started = time.time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and leave the span."""
        del kind, trace
        here, where = self._trace, self._local
        if here is None or where is None:
            return
        parent = here.parent_id or ""
        trace_on(Trace(here.trace_id, parent, here.sampled))
        seconds = time.time() - self._started
        where.add(
            Span(
                here.trace_id,
                here.span_id,
                here.parent_id,
                self._name,
                self._kind,
                self._started,
                max(0.0, seconds),
                is_failure(error),
                self._attributes,
            )
        )

    def note(self, **attributes: Any) -> None:
        """Add what was learned meanwhile."""
        self._attributes.update(attributes)


class Root:
    """What a root learns before its end."""

    __slots__ = ("attributes", "failed")

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.failed = False
        self.attributes = attributes


@contextlib.contextmanager
def rooted(
    roots: Roots | None, name: str, traceparent: str | None, *, kind: Kind = "consumer", **attributes: Any
) -> Generator[Root]:
    """Run everything inside under who caused it; without ``roots`` the trace is carried on and nothing is kept."""
    outer = current(), LOCAL.get()
    root = Root(attributes)
    if roots is None:
        caller = parse(traceparent)
        place, where = None if caller is None else caller.child(), None
    else:
        place, where = roots.begin(traceparent), Local()
    trace_on(place)
    keep_in(where)
    started = time.time()
    try:
        yield root
    except BaseException as error:
        root.failed = root.failed or is_failure(error)
        raise
    finally:
        trace_on(outer[0])
        LOCAL.set(outer[1])
        if roots is not None and place is not None and where is not None:
            where.is_over = True
            seconds = max(0.0, time.time() - started)
            ended = Span(
                *(place.trace_id, place.span_id, place.parent_id, name, kind, started, seconds),
                failed=root.failed,
                attributes=root.attributes,
            )
            roots.end(ended, where, correlation_id(), acting(), sampled=place.sampled)


def begun(traceparent: str | bytes | None, *, sampled: bool) -> Trace:
    """Return a span under the caller's, or the first one of a trace that is ``sampled`` or not."""
    caller = parse(traceparent)
    return new_trace(sampled=sampled) if caller is None else caller.child()


def is_failure(error: BaseException | None) -> bool:
    """Say whether an exception is a failure of ours: not a refusal, and not that somebody called it off."""
    if not isinstance(error, Exception):
        return False
    status = getattr(error, "status", 500)
    return not isinstance(status, int) or status >= 500
