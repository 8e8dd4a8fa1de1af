"""The values of rate limits."""

from __future__ import annotations

from typing import Literal

import msgspec

Scope = Literal["global", "ip", "principal", "key", "route"]
Kind = Literal["gcra", "exact"]
Count = Literal["process", "fleet"]


class LimitRule(msgspec.Struct, frozen=True):
    """One rule: no window of the rate's length sees more than its capacity, per ``scope``.

    ``scope``: everything together, each client address (an IPv6 network of 64 bits is one), each owner, each API key,
    or each route. ``subjects`` narrow whom it counts (networks, owners, key ids); ``routes`` narrow what: ``/api/*``,
    ``POST /api/sandboxes``. ``costs`` are what a request of such routes takes instead of 1. A ``shadow`` rule refuses
    nothing and counts what it would have refused. ``count`` in each ``process`` (no round trip) or once for the
    ``fleet``; of those a ``strict`` one waits for the shared count, another takes shares of it ahead.
    """

    name: str
    rate: str
    scope: Scope = "key"
    kind: Kind = "gcra"
    burst: int | None = None
    subjects: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    costs: dict[str, int] = {}
    count: Count = "process"
    strict: bool = False
    shadow: bool = False
    enabled: bool = True
    description: str | None = None
