"""Methods as data: one function that builds a request is a method of the blocking and of the asynchronous client."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from valhalla.sdk.models import Page
from valhalla.sdk.paging import apages, pages
from valhalla.sdk.wire import Request

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client

P = ParamSpec("P")
T = TypeVar("T")


class Group:
    """Methods of the blocking client that belong together."""

    def __init__(self, client: Client) -> None:
        self._client = client


class AsyncGroup:
    """Methods of the asynchronous client that belong together."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client


def _client_of(group: Any) -> Any:
    return group._client


class Call(Generic[P, T]):
    """A method that sends what ``build`` makes of its arguments."""

    def __init__(self, build: Callable[P, Request[T]]) -> None:
        self._build = build

    @overload
    def __get__(self, instance: Group, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: AsyncGroup, owner: type) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        """Return the method of a client."""

        @functools.wraps(self._build)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return _client_of(instance).send(self._build(*args, **kwargs))

        return method


class Every(Generic[P, T]):
    """A method that goes through every item of a list, page by page."""

    def __init__(self, build: Callable[P, Request[Page[T]]]) -> None:
        self._build: Callable[..., Request[Page[T]]] = build

    @overload
    def __get__(self, instance: Group, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, instance: AsyncGroup, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        """Return the method of a client."""

        @functools.wraps(self._build)
        def method(*args: Any, **kwargs: Any) -> Any:
            def build(cursor: str | None) -> Request[Page[T]]:
                return self._build(*args, **{**kwargs, "cursor": cursor})

            client = _client_of(instance)
            return pages(client.send, build) if isinstance(instance, Group) else apages(client.send, build)

        return method
