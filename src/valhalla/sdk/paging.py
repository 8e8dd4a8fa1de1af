"""Lists of any length, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request

T = TypeVar("T")


def pages(send: Callable[[Request[Page[T]]], Page[T]], build: Callable[[str | None], Request[Page[T]]]) -> Iterator[T]:
    """Walk over a list page by page; ``build`` makes the request for a cursor."""
    cursor: str | None = None
    while True:
        page = send(build(cursor))
        yield from page.items
        if page.next is None or page.next == cursor:
            return
        cursor = page.next


async def apages(
    send: Callable[[Request[Page[T]]], Awaitable[Page[T]]], build: Callable[[str | None], Request[Page[T]]]
) -> AsyncIterator[T]:
    """Walk over a list page by page; ``build`` makes the request for a cursor."""
    cursor: str | None = None
    while True:
        page = await send(build(cursor))
        for item in page.items:
            yield item
        if page.next is None or page.next == cursor:
            return
        cursor = page.next
