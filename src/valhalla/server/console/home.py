"""The first page: whether all is well, what waits for the person, what happened. Each part asks for itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

from starlette.responses import Response

from valhalla.kernel.problems import Invalid
from valhalla.kit.json import dumps, loads
from valhalla.server.console.calling import Caller, Refused
from valhalla.server.console.deciding import tell_apart
from valhalla.server.console.errors import NoSuchPage
from valhalla.server.console.layout import Layout
from valhalla.server.console.live import Live
from valhalla.server.console.rendering import HEADERS
from valhalla.server.console.visit import Visit
from valhalla.server.traffic import TIMES, points

_SHOWN: Final = 6
# what the charts show, and how far their points lie apart, in seconds: two samples of a process
_SPAN: Final = 3600.0
_STEP: Final = 20.0


class Part(NamedTuple):
    """One part of the page; it is asked again when an event of its topics comes."""

    name: str
    title: str
    scope: str
    path: str
    query: Mapping[str, Any]
    topics: Sequence[str]
    to: str = ""
    """The page that has the whole."""


PARTS: Final = (
    Part("holds", "Waiting for you", "holds:read", "/system/holds", {"limit": 200}, ("action",), "holds"),
    Part(
        "alerts", "Open alerts", "alerts:read", "/system/alerts",
        {"unresolved": "true", "limit": 6}, ("alert",), "alerts",
    ),
    Part(
        "sandboxes", "Sandboxes", "sandbox:read", "/api/sandboxes", {"limit": 6}, ("sandbox",), "sandboxes"
    ),
    Part("jobs", "Failed jobs", "jobs:read", "/system/jobs", {"status": "dead", "limit": 6}, ("job",), "jobs"),
    Part(
        "changes", "Recent changes", "operations:read", "/system/admin", {},
        ("registry", "flag", "config", "maintenance"), "audit",
    ),
)  # fmt: skip
# what changes the verdict
_STATE: Final = ("readiness", "maintenance", "alert", "registry.maintenance_state")


class Verdict(NamedTuple):
    """Whether one should deploy, release, go home."""

    go: bool
    reasons: Sequence[str]
    notes: Sequence[str]
    """What does not work and stops nothing."""


def judge(ready: Mapping[str, Any], mode: Mapping[str, Any] | None, critical: int | None) -> Verdict:
    """Return GO, or NO-GO with every reason for it: pure."""
    reasons: list[str] = []
    notes: list[str] = []
    checks: Mapping[str, Mapping[str, Any]] = ready.get("checks") or {}
    for name, check in checks.items():
        if check.get("ok") is False:
            told = f"{name}: {check.get('reason') or 'does not work'}"
            (reasons if check.get("critical") else notes).append(told)
    if ready.get("status") not in ("ready", "ok") and not reasons:
        reasons.append(f"the control plane is {ready.get('status', 'in an unknown state')}")
    if mode is not None and mode.get("mode") != "normal":
        reasons.append(f"writes are closed ({str(mode.get('mode')).replace('_', ' ')}): {mode.get('reason')}")
    if critical:
        reasons.append(f"{critical} critical alert{'s' if critical > 1 else ''} open")
    return Verdict(not reasons, reasons, notes)


class Home:
    """The first page and its parts."""

    def __init__(self, layout: Layout, live: Live) -> None:
        self._layout = layout
        self._live = live

    async def home(self, visit: Visit) -> Response:
        """Show everything that the person may see."""
        caller = visit.caller
        wanted = [part for part in PARTS if caller.allows(part.scope)]
        topics = [*_STATE, *(topic for part in wanted for topic in part.topics)]
        standing = await self._live.standing(visit, topics)
        asked = asyncio.gather(*(self._ask(caller, part) for part in wanted))
        state, found = await asyncio.gather(self._state(caller), asked)
        parts = [{"part": part, "document": one[0], "problem": one[1]} for part, one in zip(wanted, found, strict=True)]
        return self._layout.answer(
            visit,
            "home.html",
            **state,
            standing=standing,
            parts=parts,
            state_topics=_STATE,
            charts=caller.allows("metrics:read"),
        )

    async def part(self, visit: Visit) -> Response:
        """Show one part again.

        Raises:
            NoSuchPage: there is none of this name.
        """
        name, caller = visit.request.path_params["name"], visit.caller
        if name == "traffic":
            return await self._traffic(visit)
        if name == "queues":
            above = await caller.get("/system/jobs/queues")
            return self._layout.answer(visit, "above_queues.html", above=above)
        if name == "state":
            state = await self._state(caller)
            return self._layout.answer(visit, "home_state.html", **state, state_topics=_STATE)
        part = next((each for each in PARTS if each.name == name), None)
        if part is None:
            raise NoSuchPage
        document, problem = await self._ask(caller, part)
        return self._layout.answer(visit, "home_part.html", part=part, document=document, problem=problem)

    async def _ask(self, caller: Caller, part: Part) -> tuple[Any, Mapping[str, Any] | None]:
        try:
            document = await caller.get(part.path, part.query)
            return (await self._waiting(caller, document) if part.name == "holds" else document), None
        except Refused as refused:
            return None, refused.problem

    async def _waiting(self, caller: Caller, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the person may decide; the rest is counted, of the oldest two hundred."""
        principal, holds = caller.session.principal, document["items"]
        keys: set[str] = set()
        # a second key makes nobody a second person: whose keys are whose only some may know
        if holds and caller.allows("keys:read"):
            with suppress(Refused):
                found = await caller.get("/system/api-clients", {"owner": principal.owner, "limit": 200})
                keys = {one["id"] for one in found["items"] if one["owner"] == principal.owner}
        waiting = tell_apart(principal, keys, holds)
        return {
            "items": waiting.mine[:_SHOWN],
            "total": len(waiting.mine),
            "own": waiting.own,
            "others": waiting.others,
            "more": document["next"] is not None,
        }

    async def _traffic(self, visit: Visit) -> Response:
        """Return requests per second and their times; behind ``after``, what is new since then."""
        try:
            after = int(visit.query.get("after") or 0)
        except ValueError as error:
            raise Invalid("'after' is no number of whole seconds") from error
        now = time.time()
        # a step more, as what was counted before it is needed; in whole steps, so that they stay where they are
        start = max(now - _SPAN, min(after, now)) // _STEP * _STEP - 2 * _STEP
        query = {"from": datetime.fromtimestamp(start, UTC).isoformat(), "step": _STEP}
        document = await visit.caller.get("/system/health/history", query)
        found = points(document["items"], TIMES, step=_STEP)
        items = [point._asdict() for point in found if point.at > max(after, now - _SPAN)]
        body = dumps({"step": _STEP, "span": _SPAN, "items": items})
        return Response(body, media_type="application/json", headers=HEADERS)

    async def _state(self, caller: Caller) -> dict[str, Any]:
        answer = await caller.send("GET", "/ready", query={"verbose": "true"})
        ready: Any = {"status": "unknown"}
        if answer.headers.get("content-type", "").startswith("application/json"):
            ready = cast("dict[str, Any]", loads(answer.body))
        mode, critical = await asyncio.gather(self._mode(caller), self._critical(caller))
        return {"verdict": judge(ready, mode, critical), "mode": mode, "ready": ready}

    async def _mode(self, caller: Caller) -> Mapping[str, Any] | None:
        if not caller.allows("maintenance:read"):
            return None
        return (await self._ask(caller, Part("", "", "", "/system/maintenance", {}, ())))[0]

    async def _critical(self, caller: Caller) -> int | None:
        if not caller.allows("alerts:read"):
            return None
        query = {"unresolved": "true", "severity": "critical", "limit": 50}
        found = (await self._ask(caller, Part("", "", "", "/system/alerts", query, ())))[0]
        return None if found is None else len(found["items"])
