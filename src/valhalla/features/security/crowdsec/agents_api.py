"""``/v1/watchers``, ``/v1/alerts`` and what else agents ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, cast

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy.engine import RowMapping

from valhalla.features.security.blocklist import asking
from valhalla.features.security.crowdsec import reports, rules, store
from valhalla.features.security.crowdsec.access import Access
from valhalla.features.security.crowdsec.agents import Agents
from valhalla.features.security.crowdsec.alerts import store as kept
from valhalla.features.security.crowdsec.alerts.rules import selected
from valhalla.features.security.crowdsec.errors import AccessForbidden, BadLogin, CannotFilter, NoSuchThing
from valhalla.features.security.crowdsec.lapi import either, json, open_query, writes
from valhalla.kernel.clock import isoformat
from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database
from valhalla.kit.http import while_closed

Writer = Annotated[Principal, writes()]
Either = Annotated[Principal, either()]
Text = Annotated[str | None, Query(max_length=500)]
Number = Annotated[str, Path(max_length=30)]
_PAGE: Final = 50
_MOST: Final = 1000
_TAKEN: Final[dict[int | str, dict[str, Any]]] = {201: {"description": "Taken", "content": {}}}
_ALIVE: Final[dict[int | str, dict[str, Any]]] = {200: {"description": "Heard", "content": {}}}
_LOGIN: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["machine_id", "password"],
                    "properties": {name: {"type": "string"} for name in ("machine_id", "password")},
                },
                "example": {"machine_id": "web-1", "password": "vh_local_…", "scenarios": []},
            }
        },
    }
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "array", "items": {"type": "object"}}, "example": []}},
    }
}
_USAGE: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}, "example": {"remediation_components": []}}},
    }
}


def add_login(routes: APIRouter, db: Database, access: Access, now: Callable[[], datetime]) -> None:
    """Add how agents get a token."""

    @routes.post("/watchers/login", response_model=None, openapi_extra=_LOGIN)
    @open_query
    @while_closed("write")
    async def login(request: Request) -> Response:
        """Give an agent its token of an hour; the password is an API key with the scope `blocklist:write`."""
        body = await _object(request)
        machine, password = str(body.get("machine_id") or ""), str(body.get("password") or "")
        facts = asking()
        address = None if facts is None else facts.address
        principal, token, text = access.login(machine, password, address)
        scenarios = body.get("scenarios")
        row = {
            "client_id": principal.id,
            "machine_id": token.machine_id,
            "scenarios": [str(one)[:200] for one in cast("list[Any]", scenarios)[:500]]
            if isinstance(scenarios, list)
            else [],
            "agent": (request.headers.get("user-agent") or "")[:200] or None,
            "address": address,
            "logged_in_at": now(),
        }
        await db.run(store.note_login, _plain(row))
        return json(_granted(token.until, text))

    @routes.post("/watchers", response_model=None, status_code=201, responses=_TAKEN, openapi_extra=_LOGIN)
    @open_query
    async def register(request: Request) -> Response:
        """Take an agent whose password is such a key; nobody else is registered this way."""
        body = await _object(request)
        facts = asking()
        try:
            access.login(
                str(body.get("machine_id") or ""),
                str(body.get("password") or ""),
                None if facts is None else facts.address,
            )
        except BadLogin as error:
            raise AccessForbidden("the password of an agent is an API key with the scope 'blocklist:write'") from error
        return Response(status_code=201)

    @routes.get("/refresh_token", response_model=None)
    @open_query
    async def refresh(request: Request, principal: Writer) -> Response:
        """Give an agent another hour."""
        token, text = access.renew(principal, access.machine_of(request.headers.get("authorization"), principal))
        return json(_granted(token.until, text))


def add_agents(
    routes: APIRouter,
    db: Database,
    access: Access,
    agents: Agents,
    settle: Callable[[], Awaitable[None]],
    now: Callable[[], datetime],
    ban: timedelta,
) -> None:
    """Add what agents do with a token; ``ban`` is how long one is blocked of whom they only tell."""

    @routes.post("/alerts", response_model=None, status_code=201, openapi_extra=_BODY)
    @open_query
    @while_closed("write")
    async def report(request: Request, principal: Writer) -> Response:
        """Keep alerts, and block what their decisions name."""
        found = reports.reports_of(await request.body(), now(), ban)
        machine = access.machine_of(request.headers.get("authorization"), principal)
        numbers = await db.run(agents.report, principal, machine, found)
        await settle()
        return json([str(number) for number in numbers], 201)

    @routes.get("/alerts", response_model=None)
    @open_query
    async def listed(
        request: Request, principal: Writer, scope: Text = None, value: Text = None, scenario: Text = None,
        ip: Text = None, limit: Text = None,
    ) -> Response:  # fmt: skip
        """List alerts, newest first."""
        most = int(limit) if limit is not None and limit.isdecimal() and len(limit) < 8 else _PAGE
        at = now()
        rows = await db.read(kept.alerts, selected(request.query_params, at), at, limit=min(most, _MOST) or _MOST)
        return json([await _alert(db, row, at) for row in rows])

    @routes.get("/alerts/{number}", response_model=None)
    @open_query
    async def one(number: Number, principal: Writer) -> Response:
        """Return one alert."""
        row = await db.read(kept.find_alert, _integer(number))
        if row is None:
            raise NoSuchThing
        return json(await _alert(db, row, now()))

    @routes.delete("/alerts", response_model=None)
    @open_query
    async def drop(request: Request, principal: Writer, scope: Text = None, value: Text = None) -> Response:
        """Remove alerts with what they blocked, unless another alert or somebody else blocked it too."""
        count = await db.run(agents.forget, principal, selected(request.query_params, now()))
        await settle()
        return json({"nbDeleted": str(count)})

    @routes.delete("/alerts/{number}", response_model=None)
    @open_query
    async def drop_one(number: Number, principal: Writer) -> Response:
        """Remove one alert with what it blocked, unless another alert or somebody else blocked it too."""
        if not (count := await db.run(agents.forget, principal, _integer(number))):
            raise NoSuchThing
        await settle()
        return json({"nbDeleted": str(count)})

    @routes.get("/heartbeat", response_class=Response, responses=_ALIVE)
    @open_query
    @while_closed("write")
    async def heartbeat(request: Request, principal: Writer) -> Response:
        """Hear that an agent lives."""
        machine = access.machine_of(request.headers.get("authorization"), principal)
        await db.run(store.note_heartbeat, principal.id, machine, now())
        return Response(status_code=200)

    @routes.post("/usage-metrics", response_class=Response, status_code=201, responses=_TAKEN, openapi_extra=_USAGE)
    @open_query
    @while_closed("write")
    async def usage(request: Request, principal: Either) -> Response:
        """Keep the last metrics of a bouncer or an agent."""
        body = await _object(request)
        if not any(isinstance(body.get(name), list) for name in ("remediation_components", "log_processors")):
            raise CannotFilter("Missing remediation component or log processor data")
        machine = access.machine_in(request.headers.get("authorization"))
        facts = asking()
        address = (facts and facts.address) or "local"
        await db.run(store.note_usage, principal.id, machine, address, _plain(body))
        return Response(status_code=201)


async def _object(request: Request) -> Mapping[str, Any]:
    try:
        body: Any = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, RecursionError) as error:
        raise CannotFilter("the body is not JSON") from error
    if not isinstance(body, dict):
        raise CannotFilter("the body is no object")
    return cast("dict[str, Any]", body)


def _plain(value: Any) -> Any:
    """Return a value without NUL characters: PostgreSQL stores none."""
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {_plain(name): _plain(each) for name, each in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(each) for each in cast("list[Any]", value)]
    return value


def _granted(until: int, text: str) -> dict[str, Any]:
    return {"code": 200, "expire": isoformat(datetime.fromtimestamp(until, UTC)), "token": text}


def _integer(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise CannotFilter("alert_id must be valid integer")
    return int(text)


async def _alert(db: Database, row: RowMapping, now: datetime) -> dict[str, Any]:
    standing = await db.read(store.rules_at, list(row["keys"])[:_MOST]) if row["keys"] else []
    return {
        **row["body"],
        "id": row["id"],
        "uuid": str(row["body"].get("uuid") or row["id"]),
        "machine_id": row["machine_id"],
        "created_at": row["created_at"],
        "scenario": row["scenario"],
        "decisions": [{**rules.decision(one, now.timestamp()), "simulated": False} for one in standing],
    }
