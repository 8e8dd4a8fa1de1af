"""Outgoing HTTP calls say what they belong to: ``X-Correlation-ID`` and W3C ``traceparent``.

For httpx clients of every kind, without importing httpx::

    client = httpx.Client(event_hooks={"request": [outgoing.mark]})
    client = httpx.AsyncClient(event_hooks={"request": [outgoing.amark]})
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Protocol

from valhalla.kit import correlation, trace


class _Request(Protocol):
    """The part of httpx's request that is used."""

    @property
    def headers(self) -> MutableMapping[str, str]:
        """Its headers; names in any case."""
        ...


def headers() -> Iterator[tuple[str, str]]:
    """Yield the headers of a call that is made here and now; each call is a span of its own."""
    if (current := correlation.correlation_id() or correlation.inherited()) is not None:
        yield correlation.HEADER, current
    if (span := trace.current()) is not None:
        yield trace.HEADER, trace.render(span.child())


def environment() -> dict[str, str]:
    """Return the variables that tell a program that is started here and now the same."""
    found: dict[str, str] = {}
    if (current := correlation.correlation_id() or correlation.inherited()) is not None:
        found[correlation.VARIABLE] = current
    if (span := trace.current()) is not None:
        found[trace.VARIABLE] = trace.render(span.child())
    return found


def mark(request: _Request) -> None:
    """Add the headers that the caller has not set: httpx's hook of a blocking client."""
    for name, value in headers():
        if name not in request.headers:
            request.headers[name] = value


async def amark(request: _Request) -> None:
    """As ``mark``, for an asynchronous client."""
    mark(request)
