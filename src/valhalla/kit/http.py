"""What every feature's routes need from HTTP: who asks, what they may, and problems as responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from starlette.types import Scope

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, Problem, Unauthenticated
from valhalla.kit.json import dumps
from valhalla.kit.log import correlation_id

PROBLEM_JSON: Final = "application/problem+json"
_PRINCIPAL: Final = "valhalla.principal"


class WireModel(BaseModel):
    """Base of the API's models: an unknown member is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def set_principal(scope: Scope, principal: Principal | None) -> None:
    """Record who sent the request; only the gate does."""
    scope[_PRINCIPAL] = principal


def principal_of(request: Request) -> Principal:
    """Return who sent the request.

    Raises:
        Unauthenticated: nobody that is known.
    """
    principal: Principal | None = request.scope.get(_PRINCIPAL)
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


def problem_response(problem: Problem, *, instance: str | None = None) -> Response:
    """Render a problem (RFC 9457) with its headers."""
    headers = dict(problem.headers)
    if problem.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(problem.retry_after)))
    body = problem.document(instance=instance, correlation_id=correlation_id())
    return Response(dumps(body), problem.status, headers, media_type=PROBLEM_JSON)


def validation_problem(errors: Sequence[Mapping[str, Any]]) -> Invalid:
    """Turn pydantic's errors into one problem that names each member and never echoes what was sent."""
    items: list[dict[str, str]] = []
    for error in errors[:20]:
        where, *path = error.get("loc", ("body",))
        pointer = "".join(f"/{part}" for part in path)
        detail = (
            "this member is unknown"
            if error.get("type") == "extra_forbidden"
            else str(error.get("msg", "invalid"))
        )
        items.append(
            {"in": str(where), "pointer": pointer[:200], "detail": detail.removeprefix("Value error, ")[:300]}
        )
    first = items[0] if items else {"pointer": "", "detail": "the request is not valid", "in": "body"}
    place = first["pointer"] or first["in"]
    return Invalid(f"{place}: {first['detail']}", errors=items)


PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "A problem (RFC 9457)",
        "content": {
            PROBLEM_JSON: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail", "code"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "code": {"type": "string"},
                        "help": {"type": "string"},
                        "correlation_id": {"type": "string"},
                    },
                }
            }
        },
    }
}
