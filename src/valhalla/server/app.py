"""Composition of the HTTP application."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from valhalla.features.operations.routes.contracts import Served
from valhalla.gate import AccessLog, Bounds, Cors, EachLine, Gate, Hooks, Switchboard
from valhalla.gate.handlers import handle_problems
from valhalla.gate.quotas import Fleet, Quotas
from valhalla.gate.rules import is_public, networks
from valhalla.kit.http import while_closed_in
from valhalla.runtime import Runtime
from valhalla.sandbox.api import router as sandbox_router
from valhalla.sandbox.express import Express
from valhalla.sandbox.snapshots.api import router as snapshot_router
from valhalla.server import openapi
from valhalla.server.console.opening import console, inner_gate
from valhalla.server.graphql.opening import graph_view
from valhalla.server.system import router as system_router
from valhalla.version import VERSION
from valhalla.work.routers import routers as work_routers


def build(runtime: Runtime) -> ASGIApp:
    """Return the whole application: the gate around the routes.

    Raises:
        Overlap: two routes answer the same requests.
        Exception: a feature cannot be mounted; nothing is served without it.
    """
    settings, features = runtime.settings, runtime.features
    pages, view = console(runtime), graph_view(runtime)
    app = application(runtime, *(() if view is None else view.routers()))
    app.router.routes.extend(pages.routes)
    routes = Switchboard(app.routes)
    app.router.middleware_stack = routes.serve(app.router)
    handle_problems(app, routes)
    features.maintenance.keeper.declared = lambda method, path: while_closed_in(routes.find(path).routes, method, path)
    # applications over one runtime count together
    before = features.limits.counting
    quotas = before if isinstance(before, Quotas) else Quotas(lambda: features.limits.view.value, fleet=_fleet(runtime))
    features.limits.counting = quotas
    hooks = Hooks(
        authenticate=features.crowdsec.access.authenticate,
        # who has no key there is told so in the words of that protocol
        is_public=lambda path: is_public(path) or features.crowdsec.answers(path),
        shield=features.maintenance.keeper,
        blocklist=features.blocklist.doorman,
        decoys=features.honeypots.trap,
        policies=features.policies.policing,
        limits=quotas,
        metrics=runtime.http_metrics,
        log=EachLine.of(
            AccessLog() if settings.access_log else None,
            features.logs.intake.access if features.logs.stores_access else None,
        ),
        cors=Cors(settings.cors_origins) if settings.cors_origins else None,
        failed=features.failures.recorder.failed,
        spans=features.tracing.tracer.request,
        routes=routes,
    )
    features.routes.serve(Served(app.routes, routes.find, runtime.http_metrics.routes, hooks))
    bounds = Bounds(
        max_body=settings.max_body_bytes,
        body_timeout=settings.body_timeout.total_seconds(),
        trusted=networks(settings.trusted_proxies),
        slow=settings.trace_slow.total_seconds(),
        sample=settings.trace_sample,
    )
    served = Express(app, runtime.sandboxes)
    inner = inner_gate(served, hooks, bounds, runtime)
    pages.open(app.routes, inner)
    if view is not None:
        view.open(app.routes, inner)
    return Gate(served, hooks, bounds)


def _fleet(runtime: Runtime) -> Fleet | None:
    external = runtime.settings.valkey_url
    url = runtime.endpoints.valkey_url if external is None else external.get_secret_value()
    return None if url is None else Fleet(url)


def application(runtime: Runtime, *more: APIRouter) -> FastAPI:
    """Return the routes without the gate: nobody is authenticated here."""
    routers = (
        sandbox_router(runtime.sandboxes, runtime.reaper),
        snapshot_router(runtime.snapshots, runtime.sandboxes.templates),
        *(router for feature in runtime.features for router in feature.routers()),
        *work_routers(runtime.db, runtime.jobs, runtime.ledger, runtime.work.loops),
        system_router(runtime),
        *more,
    )
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
        # one by one: FastAPI would keep included routers nested and scan them all for each request
        routes=[route for router in routers for route in router.routes],
    )
    openapi.describe(app, routers)
    return app
