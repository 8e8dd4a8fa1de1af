"""Composition of the HTTP application."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from valhalla.gate import Gate
from valhalla.gate.accesslog import access_line
from valhalla.kernel.problems import Invalid, MethodNotAllowed, NotFound, PayloadTooLarge, Problem
from valhalla.kit.http import problem_response, validation_problem
from valhalla.runtime import Runtime
from valhalla.sandbox.api import router as sandbox_router
from valhalla.sandbox.express import Express
from valhalla.sandbox.snapshots.api import router as snapshot_router
from valhalla.server import openapi
from valhalla.server.system import router as system_router
from valhalla.version import VERSION


def build(runtime: Runtime) -> ASGIApp:
    """Return the whole application: the gate around the routes."""

    return Gate(
        Express(application(runtime), runtime.sandboxes),
        authenticate=runtime.features.clients.authenticate,
        metrics=runtime.http_metrics,
        log=access_line if runtime.settings.access_log else None,
        max_body=runtime.settings.max_body_bytes,
    )


def application(runtime: Runtime) -> FastAPI:
    """Return the routes without the gate: nobody is authenticated here."""
    app = FastAPI(
        title="Valhalla",
        version=VERSION,
        summary="A safe place to run risky backend code, and the console that governs it.",
        docs_url="/docs",
        swagger_ui_oauth2_redirect_url=None,
        redoc_url=None,
        # a thing has one address; a redirect would name the host that the client sent
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    routers = (
        sandbox_router(runtime.sandboxes, runtime.reaper),
        snapshot_router(runtime.snapshots, runtime.sandboxes.templates),
        *(router for feature in runtime.features for router in feature.routers()),
        system_router(runtime),
    )
    for router in routers:
        app.include_router(router)
    _handle_problems(app, routers)
    openapi.describe(app, routers)
    return app


def _handle_problems(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_response(error, instance=request.url.path)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(validation_problem(error.errors()), instance=request.url.path)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            allow = ", ".join(_methods(routers, request.url.path))
            return problem_response(MethodNotAllowed(headers={"Allow": allow}), instance=request.url.path)
        return problem_response(_from_http(error), instance=request.url.path)

    async def unexpected(request: Request, error: Exception) -> Response:
        # the client learns the correlation id, never the traceback; the gate logs it
        return problem_response(Problem(), instance=request.url.path)

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)


def _methods(routers: Sequence[APIRouter], path: str) -> list[str]:
    """Return every method of a path: the framework tells those of the first route that fits."""
    found: set[str] = set()
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.path_regex.match(path):
                found |= route.methods or set()
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def _from_http(error: HTTPException) -> Problem:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return NotFound("no such path", help="/docs and /openapi.json list the paths.", headers=headers)
        case 413:
            return PayloadTooLarge(error.detail, headers=headers)
        case _:
            return Invalid(error.detail, headers=headers)
