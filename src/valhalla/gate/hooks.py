"""What a gate is made of: whom it asks and tells, and how much it lets through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from valhalla.gate.accesslog import AccessLine
from valhalla.gate.contracts import Authenticate, Blocklist, Decoys, Failed, Limits, Policies, Shield, Spans
from valhalla.gate.cors import Cors
from valhalla.gate.metrics import HttpMetrics
from valhalla.gate.rules import Network
from valhalla.gate.switchboard import Switchboard


@dataclass(slots=True, kw_only=True)
class Hooks:
    """What the gate asks and tells; ``None`` is skipped and costs nothing."""

    authenticate: Authenticate | None = None
    is_public: Callable[[str], bool] | None = None
    """Which paths are answered without a key; ``None``: all."""
    shield: Shield | None = None
    blocklist: Blocklist | None = None
    decoys: Decoys | None = None
    policies: Policies | None = None
    limits: Limits | None = None
    metrics: HttpMetrics | None = None
    log: AccessLine | None = None
    spans: Spans | None = None
    failed: Failed | None = None
    cors: Cors | None = None
    routes: Switchboard | None = None
    lifespan: Callable[[ASGIApp, Scope, Receive, Send], Awaitable[None]] | None = None
    """Runs the application's lifespan, for what must be there before its first request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one request may take. Bytes and seconds of its body; a span that takes ``slow`` seconds is always kept."""

    max_body: int = 1_048_576
    body_timeout: float = 30.0
    slow: float = 1.0
    sample: float = 1.0
    """The share of traces that begin here whose spans are kept."""
    trusted: tuple[Network, ...] = ()
