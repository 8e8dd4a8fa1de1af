"""Flags that routes read: declared where they are read, so the index of routes can name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends, Request

from valhalla.kit.http import principal_in

if TYPE_CHECKING:
    from fastapi.routing import APIRoute

    from valhalla.features.operations.flags.feature import Flags

_MARK: Final = "__valhalla_flag__"


def reads_flag(flags: Flags, key: str, default: Any) -> Any:
    """Return the dependency that hands a route what a flag is for its caller: ``beta: bool = reads_flag(flags, …)``.

    The context has the caller's owner as ``targetingKey``, the ``client`` (the id of the API key) and the ``path``.
    """

    # async, or FastAPI would run it in a thread
    async def dependency(request: Request) -> Any:
        context = {"path": request.scope["path"]}
        if (principal := principal_in(request.scope)) is not None:
            context |= {"targetingKey": principal.owner, "client": principal.id}
        return flags.evaluate(key, default, context)

    setattr(dependency, _MARK, key)
    return Depends(dependency)


def flags_of(route: APIRoute) -> tuple[str, ...]:
    """Return the flags that a route declares to read, by key."""
    found: set[str] = set()
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        key = getattr(dependant.call, _MARK, None)
        if key is not None:
            found.add(key)
        waiting.extend(dependant.dependencies)
    return tuple(sorted(found))
