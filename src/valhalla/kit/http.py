"""What every feature's routes need from HTTP: who asks, what they may, and problems as responses."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, cast

import msgspec
from fastapi import Depends, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, Problem, Unauthenticated
from valhalla.kit.json import dumps
from valhalla.kit.log import correlation_id

PROBLEM_JSON: Final = "application/problem+json"
_PROBLEM_JSON: Final = PROBLEM_JSON.encode()
_PRINCIPAL: Final = "valhalla.principal"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
WhileClosed = Literal["read", "write"]
"""What a request may do that passes while writes are closed."""


class WireModel(BaseModel):
    """Base of the API's models: an unknown member is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _StrictRequest(Request):
    """Reads JSON as RFC 8259 has it: no NaN, no infinity, UTF-8 only, numbers as they were written."""

    async def json(self) -> Any:
        body = await self.body()
        try:
            return msgspec.json.decode(body)
        except RecursionError as error:
            raise HTTPException(400, "the body is nested too deeply") from error
        except UnicodeDecodeError as error:
            raise HTTPException(400, "the body is not UTF-8") from error
        except msgspec.DecodeError as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from error


class StrictRoute(APIRoute):
    """The class of every route (``APIRouter(route_class=StrictRoute)``): JSON as it is defined, no unknown parameters.

    Public routes take any query, since probes and scrapers add their own, and so does an endpoint that has
    ``open_query = True``.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler: it would read ``NaN`` and pass over a filter whose name is misspelt."""
        handle = super().get_route_handler()
        liberal = getattr(self.endpoint, "open_query", False) or scope_of(self) is None
        known = None if liberal else _query_names(self)

        async def strict(request: Request) -> Response:
            if known is not None and request.scope["query_string"]:
                for name in request.query_params:
                    if name not in known:
                        raise unknown_parameter(name, known)
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict


def _query_names(route: APIRoute) -> frozenset[str] | None:
    """Return the parameters of a route and of what it depends on; None if a model takes all of them."""
    names: set[str] = set()
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        waiting.extend(dependant.dependencies)
        for field in dependant.query_params:
            if isinstance(field.field_info.annotation, type) and issubclass(field.field_info.annotation, BaseModel):
                return None
            names.add(field.alias)
    return frozenset(names)


def unknown_parameter(name: str, known: Collection[str]) -> Invalid:
    """Return the problem of a query parameter that a route does not have."""
    told = f"'{name}'" if _NAME.fullmatch(name) else "one of them"
    return Invalid(
        f"query: {told} is no parameter of this route",
        help=f"It has {', '.join(sorted(known))}." if known else "It has none.",
        errors=[{"in": "query", "pointer": _token(name), "detail": "this parameter is unknown"}],
    )


def set_principal(scope: Scope, principal: Principal | None) -> None:
    """Record who sent the request; only the gate does."""
    scope[_PRINCIPAL] = principal


def principal_in(scope: Scope) -> Principal | None:
    """Return who sent the request of this scope, None for nobody that is known."""
    return scope.get(_PRINCIPAL)


def principal_of(request: Request) -> Principal:
    """Return who sent the request.

    Raises:
        Unauthenticated: nobody that is known.
    """
    principal = principal_in(request.scope)
    if principal is None:
        raise Unauthenticated(headers={"WWW-Authenticate": 'Bearer realm="valhalla"'})
    return principal


def requires(scope: str) -> Any:
    """Return the dependency that lets a principal with ``scope`` pass and hands it to the route."""

    def check(request: Request) -> Principal:
        principal = principal_of(request)
        principal.require(scope)
        return principal

    # async, or FastAPI would run it in a thread
    async def dependency(request: Request) -> Principal:
        return check(request)

    dependency.__valhalla_scope__ = scope  # type: ignore[attr-defined]
    return Depends(dependency)


def while_closed(
    may: WhileClosed | Callable[[Mapping[str, str]], WhileClosed | None],
) -> Callable[[Endpoint], Endpoint]:
    """Declare (under the route's decorator) that a route passes while writes are closed. A GET reads in any case.

    It asks with a body and only reads, or it writes what must go on then; its own scope is asked for as always. What a
    callable gets are the parameters of the path.
    """

    def declare(endpoint: Endpoint) -> Endpoint:
        endpoint.while_closed = may  # type: ignore[attr-defined]
        return endpoint

    return declare


def while_closed_in(routes: Iterable[Any], method: str, path: str) -> WhileClosed | None:
    """Return what the route that will answer has declared, None for one that waits until writes are open again.

    A mounted application says so with an attribute of the same name on its mount, for all that is below.
    """
    for route in routes:
        found = route.path_regex.match(path)
        if found is None or method not in (getattr(route, "methods", None) or (method,)):
            continue
        declared: Any = getattr(getattr(route, "endpoint", route), "while_closed", None)
        return cast("WhileClosed | None", declared(found.groupdict()) if callable(declared) else declared)
    return None


def scope_of(route: APIRoute) -> str | None:
    """Return the scope a route asks for, None for one that asks for none."""
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        scope = getattr(dependant.call, "__valhalla_scope__", None)
        if scope is not None:
            return scope
        waiting.extend(dependant.dependencies)
    return None


def problem_parts(problem: Problem, *, instance: str | None = None) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of a problem (RFC 9457), ready to be sent."""
    body = dumps(problem.document(instance=instance, correlation_id=correlation_id()))
    headers = [(b"content-type", _PROBLEM_JSON), (b"content-length", str(len(body)).encode())]
    for name, value in problem.headers.items():
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    if problem.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(problem.retry_after))).encode()))
    return problem.status, headers, body


def problem_response(problem: Problem, *, instance: str | None = None) -> Response:
    """Render a problem with its headers."""
    status, headers, body = problem_parts(problem, instance=instance)
    response = Response(body, status)
    response.raw_headers = headers
    return response


def validation_problem(errors: Sequence[Mapping[str, Any]]) -> Invalid:
    """Turn pydantic's errors into one problem that names each member and never echoes what was sent."""
    items: list[dict[str, str]] = []
    for error in errors[:20]:
        where, *path = error.get("loc", ("body",))
        items.append({"in": str(where), "pointer": "".join(map(_token, path)), "detail": _reason(error)})
    first = items[0] if items else {"pointer": "", "detail": "the request is not valid", "in": "body"}
    place = first["pointer"] or first["in"]
    return Invalid(f"{place}: {first['detail']}", errors=items)


def _token(part: str | int) -> str:
    """Return one step of a JSON pointer; an unknown member that has not the form of a name is not repeated."""
    return f"/{part}" if isinstance(part, int) or _NAME.fullmatch(part) else "/…"


def _reason(error: Mapping[str, Any]) -> str:
    match error.get("type"):
        case "extra_forbidden":
            return "this member is unknown"
        case "model_attributes_type":
            return "send a JSON object with 'Content-Type: application/json'"
        case _:
            return str(error.get("msg", "invalid")).removeprefix("Value error, ")[:300]


PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "A problem (RFC 9457)",
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
