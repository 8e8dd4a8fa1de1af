"""Policies at the gate: one condition, a hundred that all apply, a hundred of which none has the path, and decoys.

A judgement is what the gate calls once per request: index, counters, context of all the members that are asked for,
conditions. Beside it the engine alone, with a context that is there and with one made of a dictionary.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bench.report import Figure, figure, publish

ROUNDS = 31
CALLS = 300
PATH = "/api/sandboxes/k3v9x0q2m1n8b7c6"
HEADERS = {b"user-agent": b"python-httpx/0.28", b"host": b"plane:7777", b"accept": b"*/*"}
CONDITIONS = (
    'request.method == "POST" && principal.anonymous',
    'request.path.startsWith("/admin") && !principal.admin',
    'request.user_agent.contains("sqlmap")',
    '"root" in principal.scopes',
    'mode == "lockdown" && request.has_key',
)


def run() -> None:
    """Measure and publish."""
    publish("Policies: what a request pays", [*_engine(), *_judged(), *_bait()])


def _engine() -> list[Figure]:
    import cel

    text = 'request.path.startsWith("/api") && principal.anonymous && counters.failed_auth > 2 && mode == "normal"'
    values = {
        "request": {"path": PATH},
        "principal": {"anonymous": True},
        "counters": {"failed_auth": 3},
        "mode": "normal",
    }
    program, made = cel.compile(text), cel.Context(values)
    return [
        figure("one condition of four parts, context there", "us", _each(lambda: program.execute(made)), 2),
        figure("the same from a dictionary", "us", _each(lambda: program.execute(values))),
    ]


def _judged() -> list[Figure]:
    from valhalla.features.security.policies.contracts import Policy

    def many(count: int, **members: Any) -> list[Policy]:
        return [Policy(f"p{n}", CONDITIONS[n % len(CONDITIONS)], "challenge", **members) for n in range(count)]

    counted = [Policy(f"c{n}", f"counters.failed_auth >= {n + 1}", "block") for n in range(100)]
    return [
        figure("no policy", "us", _judge([])),
        figure("1 policy that applies", "us", _judge(many(1))),
        figure("100 policies that apply", "us", _judge(many(100)), 100),
        figure("100 policies, none of this path", "us", _judge(many(100, paths=("/system/*",)))),
        figure("100 policies, none of this mode", "us", _judge(many(100, modes=("lockdown",)))),
        figure("100 policies on counters, nothing counted", "us", _judge(counted)),
    ]


def _judge(policies: list[Any]) -> list[float]:
    from types import SimpleNamespace

    from valhalla.features.security.policies.book import Book
    from valhalla.features.security.policies.counting import Counters
    from valhalla.features.security.policies.policing import Policing, Sources
    from valhalla.kernel.clock import Clock
    from valhalla.kernel.principal import Principal

    book: Any = SimpleNamespace(value=Book(policies))
    grants: Any = SimpleNamespace(value={})
    modes: Any = SimpleNamespace(mode="normal")
    reactor: Any = SimpleNamespace(take=lambda _: None)
    clock = Clock()
    policing = Policing(Sources(book, grants), modes, Counters(clock), reactor, clock=clock)
    caller = Principal("k1", "team-a", frozenset({"sandbox:write", "sandbox:read"}))

    def ask() -> None:
        assert policing.judge("GET", PATH, "/api/sandboxes/{ref}", b"", HEADERS, "203.0.113.7", caller) is None

    return _each(ask)


def _bait() -> list[Figure]:
    from valhalla.features.security.honeypots.rules import Bait
    from valhalla.features.security.honeypots.stock import STOCK

    bait = Bait(STOCK)
    return [
        figure("a path that is no decoy", "us", _each(lambda: bait.find(PATH, b"")), 1),
        figure("a path that is one", "us", _each(lambda: bait.find("/.env", b"")), 1),
    ]


def _each(call: Callable[[], Any]) -> list[float]:
    """Return the us per call of several batches; what calling costs by itself is in it."""
    call()
    taken: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(CALLS):
            call()
        taken.append((time.perf_counter() - started) / CALLS * 1e6)
    return taken
