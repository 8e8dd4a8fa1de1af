"""``valhalla.install``: any ASGI application behind the same gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from starlette.applications import Starlette
from starlette.types import ASGIApp

from valhalla.gate.accesslog import AccessLine, AccessLog
from valhalla.gate.asgi import Gate
from valhalla.gate.contracts import Authenticate, Blocklist, Failed, Limits, Shield, Spans
from valhalla.gate.cors import Cors
from valhalla.gate.handlers import handle_problems
from valhalla.gate.hooks import Bounds, Hooks
from valhalla.gate.metrics import HttpMetrics
from valhalla.gate.rules import networks
from valhalla.gate.telling import Telling, Told
from valhalla.kernel.problems import Misconfigured

if TYPE_CHECKING:
    from valhalla.gate.connected import Plane

App = TypeVar("App", bound=ASGIApp)
_HELP = "Call valhalla.install(app) once, before the first request."


def install(
    app: App,
    *,
    plane: Plane | str | None = None,
    health: str | None = "/health",
    authenticate: Authenticate | None = None,
    public: Sequence[str] | None = None,
    shield: Shield | None = None,
    blocklist: Blocklist | None = None,
    limits: Limits | None = None,
    metrics: HttpMetrics | None = None,
    access_log: bool | AccessLine = True,
    spans: Spans | None = None,
    failed: Failed | None = None,
    cors_origins: Sequence[str] = (),
    trusted_proxies: Sequence[str] = (),
    max_body_bytes: int = 1_048_576,
    body_timeout: float = 30.0,
    slow: float = 1.0,
    sample: float = 1.0,
) -> App:
    """Protect an application: context, bounded bodies, problem documents, access log, metrics, and what you hook in.

    A Starlette or FastAPI application is changed in place and returned; its own exception handlers stay. Any other one
    is wrapped: use what is returned. Without ``plane`` nothing is asked over the network; no request waits for it.

    Args:
        app: The application; no request has reached it yet.
        plane: A control plane, or its address: its keys, limits, maintenance and blocklist hold here, too. What is
            given besides takes the place of its part.
        health: With ``plane``: where anybody hears how well it is followed, and whether some of its rules cannot be
            enforced here; an application's own route of this path stays. ``None``: nowhere.
        authenticate: Tells keys apart (``Authorization: Bearer``); the principal is ``principal_in(scope)``.
        public: With ``authenticate`` or ``plane``: the paths that need no key; one that ends in ``/`` stands for all
            below it.
        shield: The state of maintenance.
        blocklist: Who is not let in.
        limits: How much a caller may ask for.
        metrics: Where requests are counted; register it with your ``CollectorRegistry``.
        access_log: A line per request on standard error, none, or your own writer.
        spans: Told of each request that is sampled, slow or failed.
        failed: Told of each error that the application did not handle.
        cors_origins: Origins whose pages may call from a browser; ``*`` is any.
        trusted_proxies: Addresses and networks whose ``Forwarded`` and ``X-Forwarded-For`` are believed.
        max_body_bytes: The largest request body.
        body_timeout: Seconds in which a body must arrive.
        slow: Seconds from which on a request's span is kept whatever is sampled.
        sample: The share of new traces whose spans are kept, 0 to 1.

    Raises:
        Misconfigured: the application has the gate already, has begun to serve, or a value is wrong.
    """
    lifespan = None
    if plane is not None:
        if isinstance(plane, str):
            # it loads what counts and what keeps calendars
            from valhalla.gate.connected import Plane

            plane = Plane(plane)
        authenticate, shield, limits = authenticate or plane.authenticate, shield or plane, limits or plane
        blocklist = blocklist or plane
        lifespan = plane.lifespan
    told = None if plane is None or health is None or _has(app, health) else (health, plane.health)
    if told is not None:
        public = [*(public or ()), told[0]]
    hooks = Hooks(
        lifespan=lifespan,
        authenticate=authenticate,
        is_public=None if authenticate is None else _Public(public or ()),
        shield=shield,
        blocklist=blocklist,
        limits=limits,
        metrics=metrics,
        log=_log(access_log),
        spans=spans,
        failed=failed,
        cors=Cors(cors_origins) if cors_origins else None,
    )
    try:
        trusted = networks(trusted_proxies)
    except ValueError as error:
        raise Misconfigured(f"trusted_proxies: {error}", setting="trusted_proxies") from None
    if max_body_bytes < 0 or body_timeout <= 0:
        raise Misconfigured("max_body_bytes and body_timeout are not negative", setting="max_body_bytes")
    bounds = Bounds(max_body=max_body_bytes, body_timeout=body_timeout, slow=slow, sample=sample, trusted=trusted)
    if isinstance(app, Gate):
        raise Misconfigured("this application has a gate already", help=_HELP, setting="app")
    if not isinstance(app, Starlette):
        return cast("App", Gate(_telling(app, told), hooks, bounds))
    _wrap(app, told, hooks, bounds)
    return cast("App", app)


def _has(app: ASGIApp, path: str) -> bool:
    return isinstance(app, Starlette) and any(getattr(route, "path", None) == path for route in app.routes)


def _telling(app: ASGIApp, told: tuple[str, Told] | None) -> ASGIApp:
    return app if told is None else Telling(app, *told)


def _wrap(app: Starlette, told: tuple[str, Told] | None, hooks: Hooks, bounds: Bounds) -> None:
    """Put the gate around everything that the application is made of, its own 500 page included."""
    if app.middleware_stack is not None:
        raise Misconfigured("this application has begun to serve", help=_HELP, setting="app")
    if "build_middleware_stack" in vars(app):
        raise Misconfigured("this application has a gate already", help=_HELP, setting="app")
    handle_problems(app, replace=False)
    build = app.build_middleware_stack

    def gated() -> ASGIApp:
        return Gate(_telling(build(), told), hooks, bounds)

    # add_middleware would put it inside of Starlette's own error page, whose answers would then lack the headers
    cast("Any", app).build_middleware_stack = gated


def _log(wanted: bool | AccessLine) -> AccessLine | None:
    if isinstance(wanted, bool):
        return AccessLog() if wanted else None
    return wanted


class _Public:
    """Which paths need no key."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._exact = frozenset(paths)
        self._below = tuple(path for path in paths if path.endswith("/") and path != "/")

    def __call__(self, path: str) -> bool:
        return path in self._exact or path.startswith(self._below)
