"""``/v1/decisions``: what bouncers pull, and what agents take back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from valhalla.features.security.blocklist import asking
from valhalla.features.security.crowdsec import rules, store
from valhalla.features.security.crowdsec.agents import Agents
from valhalla.features.security.crowdsec.cursors import Bouncer, Cursors
from valhalla.features.security.crowdsec.errors import CannotFilter, NoSuchThing
from valhalla.features.security.crowdsec.lapi import is_head, json, open_query, pulls, writes
from valhalla.features.security.crowdsec.pulling import Pulls, listed
from valhalla.features.security.crowdsec.rules import Row
from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database

Puller = Annotated[Principal, pulls()]
Writer = Annotated[Principal, writes()]
Text = Annotated[str | None, Query(max_length=500)]


def add_decisions(
    routes: APIRouter,
    db: Database,
    reading: Pulls,
    cursors: Cursors,
    agents: Agents,
    settle: Callable[[], Any],
    now: Callable[[], datetime],
) -> None:
    """Add the routes."""

    # before the decisions' own: a path of words is looked at in order
    @routes.get("/decisions/stream", response_model=None)
    @open_query
    async def stream(
        request: Request, principal: Puller, startup: Text = None, scopes: Text = None, origins: Text = None
    ) -> Response:
        """Say what a bouncer has not been told: everything with `startup=true`, then what is new and what has ended."""
        wanted = rules.wanted(request.query_params, ("ip", "cidr"))
        # a socket has no address, and is one bouncer
        facts = asking()
        bouncer = Bouncer(principal.id, (facts and facts.address) or "local")
        agent = request.headers.get("user-agent")
        if is_head(request):
            return json({"new": [], "deleted": []})
        head = reading.head
        cursor = None if (startup or "").lower() in ("true", "1", "t") else cursors.known(bouncer)
        reset = cursor is None and (startup or "").lower() in ("true", "1", "t")
        if cursor == head:
            cursors.seen(bouncer, agent)
            return json({"new": [], "deleted": []})
        if not reset:
            # what another process told besides is told again at most: thousands of bouncers ask without a query
            cursor = cursors.known(bouncer)
            if cursor is None:
                cursor = await cursors.read(bouncer)
            if cursor is None or not await reading.can_follow(cursor, head, wanted):
                cursor, reset = None, True
        pieces = reading.everything(wanted) if cursor is None else reading.changes(cursor, head, wanted)
        told = _told(pieces, request, lambda: cursors.told(bouncer, head, agent, reset=reset))
        return StreamingResponse(told, media_type="application/json")

    @routes.get("/decisions", response_model=None)
    @open_query
    async def decisions(
        request: Request,
        principal: Puller,
        ip: Text = None,
        range: Text = None,  # noqa: A002 - the protocol's name
        scope: Text = None,
        value: Text = None,
        type: Text = None,  # noqa: A002
        limit: Text = None,
        offset: Text = None,
    ) -> Response:
        """List the decisions that hold, or those about an address (`ip`) or network (`range`); `null` for none."""
        pages = _part(reading.asked(request.query_params), _number(offset) or 0, _number(limit))
        first = await anext(pages, None)
        if first is None:
            return json(None)
        return StreamingResponse(_array(first, pages, now), media_type="application/json")

    @routes.delete("/decisions", response_model=None)
    @open_query
    async def take_back(request: Request, principal: Writer, ip: Text = None, value: Text = None) -> Response:
        """End the decisions that the filters name; without one all of them."""
        for name in request.query_params:
            if name not in rules.FILTERS:
                raise CannotFilter(f"'{name[:32]}' doesn't exist: invalid filter")
        count = 0
        async for rows in reading.asked(request.query_params):
            count += await db.run(agents.take_back, principal, [row.key for row in rows])
        await settle()
        return json({"nbDeleted": str(count)})

    @routes.delete("/decisions/{number}", response_model=None)
    @open_query
    async def take_one_back(number: Annotated[str, Path(max_length=30)], principal: Writer) -> Response:
        """End one decision."""
        if not number.isdecimal() or len(number) > 18:
            raise CannotFilter("decision_id must be valid integer")
        key = await db.read(store.key_of, int(number))
        if key is None:
            raise NoSuchThing(f"decision with id '{number}' doesn't exist: unable to delete")
        count = await db.run(agents.take_back, principal, [key])
        await settle()
        return json({"nbDeleted": str(count)})


async def _told(pieces: AsyncIterator[bytes], request: Request, done: Callable[[], None]) -> AsyncIterator[bytes]:
    """Give an answer, and note that it was told once the caller has taken all of it."""
    last: bytes | None = None
    async for piece in pieces:
        if last is not None:
            yield last
        last = piece
    # who has hung up asks again from where he was
    if last is not None and not await request.is_disconnected():
        yield last
        done()


async def _part(pages: AsyncIterator[list[Row]], skip: int, most: int | None) -> AsyncIterator[list[Row]]:
    """Give the rows from ``skip`` on, ``most`` of them; no empty page."""
    async for page in pages:
        rows = page[skip:]
        skip = max(0, skip - len(page))
        if most is not None:
            rows = rows[:most]
            most -= len(rows)
        if rows:
            yield rows
        if most == 0:
            return


async def _array(first: list[Row], rest: AsyncIterator[list[Row]], now: Callable[[], datetime]) -> AsyncIterator[bytes]:
    async def pages() -> AsyncIterator[list[Row]]:
        yield first
        async for rows in rest:
            yield rows

    yield b"["
    async for piece in listed(pages(), lambda row: rules.decision(row, now().timestamp())):
        yield piece
    yield b"]"


def _number(text: str | None) -> int | None:
    if text is None or text == "":
        return None
    if not text.isdecimal() or len(text) > 12:
        raise CannotFilter("limit and offset are numbers")
    # 0 is "no limit" to CrowdSec's own clients
    return int(text) or None
