"""Whatever a Starlette or FastAPI application refuses, as one problem document (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, cast

from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from valhalla.gate.errors import HttpProblem
from valhalla.gate.switchboard import Leaf, Switchboard, routed_path
from valhalla.kernel.problems import (
    Conflict,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    Problem,
    Unauthenticated,
)
from valhalla.kit.http import problem_response, validation_problem
from valhalla.kit.redact import redact

_KINDS: Final[Mapping[int, type[Problem]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    412: PreconditionFailed,
    413: PayloadTooLarge,
    422: Invalid,
}
_THEIRS: Final = (http_exception_handler, request_validation_exception_handler)


def handle_problems(app: Starlette, routes: Switchboard | None = None, *, replace: bool = True) -> None:
    """Register the handlers. With ``replace`` off, those that the application has of its own stay."""

    async def problem(request: Request, error: Exception) -> Response:
        return problem_response(cast("Problem", error), instance=request.url.path)

    async def validation(request: Request, error: Exception) -> Response:
        errors = cast("RequestValidationError", error).errors()
        return problem_response(validation_problem(errors), instance=request.url.path)

    async def http(request: Request, error: Exception) -> Response:
        refused = cast("HTTPException", error)
        if refused.status_code < 400:
            return Response(status_code=refused.status_code, headers=refused.headers)
        if refused.status_code == 405 and routes is not None:
            leaf: Leaf = routes.find(routed_path(request.scope))
            allow = ", ".join(sorted(leaf.methods(routed_path(request.scope))))
            return problem_response(MethodNotAllowed(headers={"Allow": allow}), instance=request.url.path)
        return problem_response(from_http(refused, exact=not replace), instance=request.url.path)

    async def unexpected(request: Request, _error: Exception) -> Response:
        # the client learns the correlation id, never the traceback; the gate logs it
        return problem_response(Problem(), instance=request.url.path)

    wanted: dict[type[Exception], ExceptionHandler] = {
        Problem: problem,
        RequestValidationError: validation,
        HTTPException: http,
        Exception: unexpected,
    }
    for kind, handler in wanted.items():
        own = cast("Any", app.exception_handlers).get(kind)
        if replace or own is None or own in _THEIRS:
            app.add_exception_handler(kind, handler)


def from_http(error: HTTPException, *, exact: bool = False) -> Problem:
    """Return the problem that stands for a framework's refusal, with its headers.

    Frameworks answer 400 to a body that they cannot read, which is a 422 here unless the status is to stay ``exact``.
    """
    headers = dict(error.headers or {})
    status, told = error.status_code, cast("object", error.detail)
    phrase = _phrase(status)
    detail = told if isinstance(told, str) and told not in ("", phrase) else None
    # FastAPI's detail may be any document
    extra = {} if isinstance(told, str) else {"info": redact(told)}
    if status == 404 and detail is None and not extra:
        return NotFound("no such path", help="/docs and /openapi.json list the paths.", headers=headers)
    kind = Invalid if status == 400 and not exact else _KINDS.get(status)
    if kind is not None:
        return kind(detail, headers=headers, **extra)
    problem = HttpProblem(detail or phrase, headers=headers, **extra)
    problem.status = status  # type: ignore[misc]
    return problem


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"
