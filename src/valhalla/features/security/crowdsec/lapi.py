"""How routes of CrowdSec's API differ from ours: who may, how a refusal looks, which parameters are taken."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from fastapi import Depends, Request
from starlette.responses import Response

from valhalla.features.security.crowdsec.errors import AccessForbidden, BadLogin, LapiRefusal
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.kit.http import PROBLEMS, StrictRoute, principal_in
from valhalla.kit.json import dumps

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": told,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["message"],
                    "properties": {"message": {"type": "string"}, "code": {"type": "integer"}},
                }
            },
            # what never comes to a route is refused in our own words: a path that is none, maintenance, the blocklist
            **PROBLEMS["default"]["content"],
        },
    }
    for status, told in (
        (400, "The filter or body cannot be understood"),
        (401, "No token, or no valid one"),
        (403, "No key, or no valid one"),
        (404, "No such thing"),
        (503, "The database cannot be reached"),
    )
}
"""How refusals are described: in the words of the protocol."""
WRITE: Final = "blocklist:write"
PULL: Final = "bouncer"


class LapiRoute(StrictRoute):
    """Answers refusals as ``{"message": …}``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler: what it raises is told as bouncers and agents read it."""
        handle = super().get_route_handler()

        async def lapi(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                return refusal(problem)

        return lapi


def refusal(problem: Problem) -> Response:
    """Return a problem as CrowdSec's clients expect it."""
    document: dict[str, Any] = {"message": problem.detail}
    headers: dict[str, str] = {}
    if problem.status == 401:
        document["code"] = 401
        headers["WWW-Authenticate"] = "JWT realm=valhalla"
    if problem.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(problem.retry_after)))
    return Response(dumps(document), problem.status, headers, media_type="application/json")


def pulls() -> Any:
    """Return the dependency of routes for bouncers."""
    return _needs(PULL, AccessForbidden, PULL)


def writes() -> Any:
    """Return the dependency of routes for agents."""
    return _needs(WRITE, BadLogin, WRITE)


def either() -> Any:
    """Return the dependency of routes for both."""
    return _needs(PULL, AccessForbidden, PULL, WRITE)


def _needs(told: str, refused: type[LapiRefusal], *scopes: str) -> Any:
    # async, or FastAPI would run it in a thread
    async def dependency(request: Request) -> Principal:
        principal = principal_in(request.scope)
        if principal is None or not any(principal.allows(scope) for scope in scopes):
            raise refused
        return principal

    dependency.__valhalla_scope__ = told  # type: ignore[attr-defined]
    return Depends(dependency)


def open_query(endpoint: Endpoint) -> Endpoint:
    """Let an endpoint be asked with parameters that it does not know, as every version of a client has its own."""
    endpoint.open_query = True  # type: ignore[attr-defined]
    return endpoint


def is_head(request: Request) -> bool:
    """Say whether a request only looks: the gate turns HEAD into GET."""
    return bool(request.scope.get("valhalla.head"))


def json(document: Any, status: int = 200) -> Response:
    """Return an answer."""
    return Response(dumps(document), status, media_type="application/json")
