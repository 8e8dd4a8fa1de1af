"""Composition of the HTTP application."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from valhalla.features.operations.clients.api import router as clients_router
from valhalla.features.operations.clients.rules import authenticate
from valhalla.gate import Gate
from valhalla.gate.accesslog import access_line
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, MethodNotAllowed, NotFound, PayloadTooLarge, Problem
from valhalla.kit.http import problem_response, validation_problem
from valhalla.runtime import Runtime
from valhalla.sandbox.api import router as sandbox_router
from valhalla.server.system import router as system_router
from valhalla.version import VERSION


def build(runtime: Runtime) -> ASGIApp:
    """Return the whole application: the gate around the routes."""
    app = FastAPI(
        title="Valhalla",
        version=VERSION,
        summary="A safe place to run risky backend code, and the console that governs it.",
        docs_url="/docs",
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    _handle_problems(app)
    app.include_router(sandbox_router(runtime.sandboxes, runtime.reaper))
    app.include_router(clients_router(runtime.clients))
    app.include_router(system_router(runtime))
    app.openapi_schema = None
    _describe_security(app)

    def principal(key: str) -> Principal | None:
        return authenticate(key, runtime.clients_by_id(), runtime.clock.now)

    return Gate(
        app,
        authenticate=principal,
        metrics=runtime.http_metrics,
        log=access_line if runtime.settings.access_log else None,
        max_body=runtime.settings.max_body_bytes,
    )


def _handle_problems(app: FastAPI) -> None:
    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_response(error, instance=request.url.path)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(validation_problem(error.errors()), instance=request.url.path)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem_response(_from_http(error), instance=request.url.path)

    async def unexpected(request: Request, error: Exception) -> Response:
        # the client learns the correlation id, never the traceback; the gate logs it
        return problem_response(Problem(), instance=request.url.path)

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)


def _from_http(error: HTTPException) -> Problem:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return NotFound("no such path", headers=headers)
        case 405:
            return MethodNotAllowed(headers=headers)
        case 413:
            return PayloadTooLarge(error.detail, headers=headers)
        case _:
            return Invalid(error.detail, headers=headers)


def _describe_security(app: FastAPI) -> None:
    """Say in the OpenAPI that every route but the public ones takes a bearer key."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            schema.setdefault("components", {})["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "vh_…"}
            }
            schema["security"] = [{"key": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
