"""What FastAPI's description of the API lacks: who may call what, and what a problem looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from valhalla.gate.rules import is_public
from valhalla.kernel.problems import NotFound
from valhalla.kit.http import scope_of

_TEXT: Final = {"type": "string"}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457; each code has a page at /problems/{code} and further members of its own.",
    "required": ["type", "title", "status", "detail", "code", "help"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "code": _TEXT,
        "help": _TEXT,
        "instance": _TEXT,
        "correlation_id": _TEXT,
        "retry_after": {"type": "number"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"in": _TEXT, "pointer": _TEXT, "detail": _TEXT},
            },
        },
    },
    "examples": [NotFound("no such path").document(instance="/api/nothing", correlation_id="k3v9x0q2m1n8b7c6")],
}
_CORRELATION: Final = {"description": "names the request in logs and in the audit", "schema": _TEXT}


def describe(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Complete the description when it is first asked for."""
    generate = app.openapi
    scopes = {
        (route.path_format, method.lower()): scope_of(route)
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = _PROBLEM
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "vh_…"}}
            components["headers"] = {"X-Correlation-ID": _CORRELATION}
            for path, item in schema["paths"].items():
                for method, operation in item.items():
                    _complete(operation, path, scopes.get((path, method)))
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(operation: dict[str, Any], path: str, scope: str | None) -> None:
    for response in operation["responses"].values():
        response.setdefault("headers", {})["X-Correlation-ID"] = {"$ref": "#/components/headers/X-Correlation-ID"}
    if is_public(path):
        operation["security"] = []
        return
    operation["security"] = [{"key": [scope] if scope else []}]
    operation["description"] = f"{operation.get('description', '')}\n\nScope: `{scope}`.".strip()
