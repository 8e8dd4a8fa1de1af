"""Flags and configuration: one evaluation in process against flagd-core as its manual uses it, OFREP, one read.

The definition with a rule asks for a country in a list and a version, then splits by the targeting key. OFREP is the
application's routes without a network; half of its 500 flags have that rule.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from bench.report import Figure, figure, publish

ROUNDS = 9
CALLS = 5_000
VARIANTS = {"on": True, "off": False}
RULE = {
    "if": [
        {"and": [{"in": [{"var": "country"}, ["de", "fr", "nl"]]}, {"sem_ver": [{"var": "version"}, ">=", "2.1.0"]}]},
        {"fractional": [["on", 10], ["off", 90]]},
        "off",
    ]
}
CONTEXT = {"targetingKey": "user-12345", "country": "fr", "version": "2.3.4"}


def run() -> None:
    """Measure and publish."""
    evaluations = [
        *(line for size in (10, 10_000) for line in _ours(size)),
        *_flagd(),
    ]
    publish("Flags: evaluation, OFREP and configuration", [*evaluations, *asyncio.run(_ofrep()), _config()])


def definitions(size: int) -> dict[str, dict[str, Any]]:
    """Return flags: those of even number are static, the others have the rule."""
    flag = {"state": "ENABLED", "variants": VARIANTS, "defaultVariant": "off"}
    return {f"f{n}": {**flag, "targeting": RULE} if n % 2 else flag for n in range(size)}


def flag_set(size: int) -> Any:
    """Return our set of them."""
    from valhalla.features.operations.flags.contracts import Flag
    from valhalla.features.operations.flags.evaluating import FlagSet

    return FlagSet({key: (Flag(key=key, **members), 1) for key, members in definitions(size).items()})


def _ours(size: int) -> list[Figure]:
    flags = flag_set(size)
    static = _each(lambda: flags.evaluate("f2", CONTEXT))
    split = _each(lambda: flags.evaluate("f3", CONTEXT))
    return [
        figure(f"valhalla static, {size:,} flags", "us", static, 3),
        figure(f"valhalla rule and split, {size:,} flags", "us", split, 20),
    ]


def _flagd() -> list[Figure]:
    from openfeature.contrib.tools.flagd.core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext

    core = FlagdCore()
    core.set_flags({"flags": definitions(10)})
    attributes = {name: value for name, value in CONTEXT.items() if name != "targetingKey"}
    context = EvaluationContext(CONTEXT["targetingKey"], attributes)
    return [
        figure("flagd-core static", "us", _each(lambda: core.resolve_boolean_value("f2", False, context))),
        figure("flagd-core rule and split", "us", _each(lambda: core.resolve_boolean_value("f3", False, context))),
    ]


async def _ofrep() -> list[Figure]:
    import httpx
    from fastapi import FastAPI

    from valhalla.features.operations.flags.ofrep_api import router
    from valhalla.kernel.clock import Clock
    from valhalla.kernel.principal import SYSTEM
    from valhalla.kit.http import set_principal

    flags = flag_set(500)
    sets: Any = SimpleNamespace(of=lambda _environment: flags)
    followers: Any = SimpleNamespace(revision="1.1")
    app = FastAPI()
    app.include_router(router(sets, followers, Clock(), ""))

    async def known(scope: Any, receive: Any, send: Any) -> None:
        set_principal(scope, SYSTEM)
        await app(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="http://plane") as client:

        async def ask(path: str, **headers: str) -> httpx.Response:
            return await client.post(f"/ofrep/v1/evaluate/flags{path}", json={"context": CONTEXT}, headers=headers)

        tag = (await ask("")).headers["etag"]
        one, every, same = [[await _timed(ask, *each) for _ in range(100)] for each in (("/f3",), ("",), ("", tag))]
    return [
        figure("OFREP, one flag, client included", "ms", one),
        figure("OFREP, 500 flags, client included", "ms", every, 5),
        figure("OFREP, 500 flags, unchanged (304), client included", "ms", same, 1),
    ]


async def _timed(ask: Any, path: str, tag: str | None = None) -> float:
    started = time.perf_counter()
    answer = await ask(path, **({} if tag is None else {"If-None-Match": tag}))
    seconds = time.perf_counter() - started
    assert answer.status_code == (200 if tag is None else 304)
    return seconds * 1000


def _config() -> Figure:
    from valhalla.sdk.config import Config

    config = Config()
    config._held = SimpleNamespace(value={f"key/{n}": n for n in range(10_000)})  # type: ignore[assignment]
    return figure('config["key"], 10,000 entries', "us", _each(lambda: config["key/5000"]), 0.5)


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
