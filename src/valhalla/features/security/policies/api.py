"""``/system/security/policies`` and ``/system/security/mode``."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Query, Response

from valhalla.features.security.policies import rules, trying
from valhalla.features.security.policies.contracts import ModeState, Policy, Request, Source
from valhalla.features.security.policies.face import PREFIX, READ, WRITE, policy_face
from valhalla.features.security.policies.modes import KEY, Modes
from valhalla.features.security.policies.policing import Policing, Tally
from valhalla.features.security.policies.wire import ModeIn, ModeOut, ModePage, TestIn, TestOut, UsageOut
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Unavailable
from valhalla.kit.changes import Snapshot
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires, while_closed
from valhalla.kit.json import dumps
from valhalla.kit.registry import Record, Registry
from valhalla.kit.registry_routes import registry_router
from valhalla.kit.registry_routes.matching import Conditions
from valhalla.kit.registry_routes.wire import PageQuery, WriteQuery

MODE: Final = "/system/security/mode"
_LASTING: Final = timedelta(hours=1)
# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires(READ)]
Writer = Annotated[Principal, requires(WRITE)]
Match = Annotated[str | None, Header(max_length=1000, description="the ETag of the mode that was read")]

Settle = Callable[[], Awaitable[None]]


def policy_router(
    registry: Registry[Policy],
    snapshot: Callable[[], Snapshot[Policy]],
    policing: Policing,
    state: Callable[[], Mapping[str, Any]],
    modes: Modes,
    db: Database,
    settle: Settle,
) -> APIRouter:
    """Return the routes of the policies; ``state`` is what this process says of them."""
    routes = APIRouter(prefix=PREFIX, tags=["policies"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("/usage")
    async def usage(principal: Reader) -> UsageOut:
        """Say what became of each policy in this process, shadows included."""
        policies = {key: record.value for key, record in snapshot().records.items()}
        shadows = {key for key, policy in policies.items() if policy.shadow}
        items = [
            _usage(name, policies.get(name), policing.tallies.get(name))
            for name in sorted({*policing.tallies, *shadows})
        ]
        return UsageOut.model_validate({**state(), "items": items})

    @routes.post("/test")
    @while_closed("read")
    async def test(body: TestIn, principal: Reader) -> TestOut:
        """Say what the policies would make of a request, or of what a honeypot caught. Nothing is done or counted."""
        policies = {key: record.value for key, record in snapshot().records.items()}
        if body.policy is not None:
            draft = _draft(body)
            rules.check(draft)
            policies[draft.name] = draft
        mode = body.mode or modes.mode
        if body.caught is not None:
            found = trying.on_caught(policies.values(), Source(**body.caught.model_dump()), mode)
        else:
            counts = {**rules.no_counts(), **body.counters}
            found = trying.on_request(policies.values(), _request(body), counts, mode)
        return TestOut.model_validate(found)

    return registry_router(policy_face(registry), db, settle, routes)


def mode_router(modes: Modes, db: Database) -> APIRouter:
    """Return the routes of the mode."""
    routes = APIRouter(prefix=MODE, tags=["policies"], responses=PROBLEMS, route_class=StrictRoute)
    registry = modes.registry

    async def shown() -> Response:
        record = await db.read(registry.find, KEY)
        headers = {} if record is None else {"ETag": record.etag}
        return Response(dumps(_document(modes, record)), headers=headers, media_type="application/json")

    @routes.get("", response_model=ModeOut)
    async def mode(principal: Reader) -> Response:
        """Say which mode holds, and when it falls back."""
        return await shown()

    @routes.post("", response_model=ModeOut)
    @while_closed("write")
    async def set_mode(
        body: ModeIn, how: Annotated[WriteQuery, Query()], principal: Writer, if_match: Match = None
    ) -> Response:
        """Raise the mode for a while, or end that: here when this answers, elsewhere within milliseconds."""
        lasting = None if body.lasting_seconds is None else timedelta(seconds=body.lasting_seconds)
        change = await modes.set(
            principal,
            body.mode,
            body.reason,
            lasting=_LASTING if lasting is None and body.mode != "normal" else lasting,
            check=lambda version: Conditions(if_match).require("mode", version),
            dry_run=how.dry_run,
        )
        if how.dry_run:
            state = registry.decode(KEY, change.after or {})
            preview = {name: getattr(state, name) for name in ("mode", "reason", "actor", "since", "until")}
            return Response(dumps({**preview, "version": change.revision}), media_type="application/json")
        # what is committed stays, and the feed catches up by itself
        with contextlib.suppress(Unavailable):
            await modes.settle()
        return await shown()

    @routes.get("/history", response_model=ModePage)
    async def history(query: Annotated[PageQuery, Query()], principal: Reader) -> Response:
        """Tell who or what set which mode, newest first."""
        page = await db.read(registry.history, KEY, limit=query.limit, cursor=query.cursor)
        items = [
            {
                "revision": change.revision,
                **{name: (change.after or {}).get(name) for name in ("mode", "reason", "until")},
                "actor": change.actor,
                "at": change.at,
            }
            for change in page.items
        ]
        return Response(dumps({"items": items, "next": page.next}), media_type="application/json")

    return routes


def _usage(name: str, policy: Policy | None, tally: Tally | None) -> Mapping[str, Any]:
    counted = Tally() if tally is None else tally
    return {
        "name": name,
        "action": None if policy is None else policy.action,
        "shadow": policy is not None and policy.shadow,
        "matched": counted.matched,
        "shadowed": counted.shadowed,
        "failed": counted.failed,
        "last_at": counted.last,
    }


def _document(modes: Modes, record: Record[ModeState] | None) -> Mapping[str, Any]:
    standing = modes.now()
    return {
        "mode": standing.mode,
        "reason": standing.reason,
        "actor": standing.actor or None,
        "since": standing.since,
        "until": standing.until,
        "version": 0 if record is None else record.version,
    }


def _draft(body: TestIn) -> Policy:
    assert body.policy is not None
    return msgspec.convert(body.policy.model_dump(), Policy)


def _request(body: TestIn) -> Request:
    caller = body.principal
    return Request(
        body.method.upper(),
        body.path,
        body.route or body.path,
        body.query.encode("latin-1", "replace"),
        {
            name.lower().encode("latin-1", "replace"): text.encode("latin-1", "replace")
            for name, text in body.headers.items()
        },
        body.address,
        None if caller is None else Principal(caller.id, caller.owner, frozenset(caller.scopes)),
    )
