"""``/system/notify``: sending, deliveries and their replay, how channels fare."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime

from valhalla.features.data.notifications import rules
from valhalla.features.data.notifications.channels import ChannelService
from valhalla.features.data.notifications.contracts import Filter, Item, Status
from valhalla.features.data.notifications.delivery_wire import (
    DeliveryDetailOut,
    DeliveryOut,
    DeliveryPage,
    ReplayIn,
    ReplayOut,
    SendIn,
    StandingOut,
    StatusOut,
)
from valhalla.features.data.notifications.faces import PREFIX
from valhalla.features.data.notifications.service import NotificationService
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, requires

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("notifications:read")]
Writer = Annotated[Principal, requires("notifications:write")]
DeliveryId = Annotated[str, Path(max_length=64, examples=["k3v9x0q2m1n8b7c6"])]
Instant = Annotated[AwareDatetime | None, Query(examples=["2026-01-01T00:00:00Z"])]
Text = Annotated[str | None, Query(min_length=1, max_length=200)]
_ALL = ReplayIn.model_validate({})


def router(service: NotificationService, channels: ChannelService, clock: Clock) -> APIRouter:
    """Return the routes that are of no registry."""
    routes = APIRouter(prefix=PREFIX, tags=["notifications"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.post("", status_code=202)
    async def send(body: SendIn, response: Response, principal: Writer) -> DeliveryOut:
        """Send a message by a channel; Location is where one sees what became of it."""
        item = Item(body.type, clock.now(), body.severity, rules.line(body.subject), body.data, "", body.body or None)
        made = await service.send(principal, body.channel, item, key=body.key)
        response.headers["Location"] = f"{PREFIX}/deliveries/{made.id}"
        return DeliveryOut.of(made)

    @routes.get("")
    async def status(principal: Reader) -> StatusOut:
        """Show how every channel fares and what waits for it."""
        return StatusOut(items=[StandingOut.of(*each) for each in await channels.standings(principal)])

    _deliveries(routes, service)
    return routes


def _deliveries(routes: APIRouter, service: NotificationService) -> None:
    @routes.get("/deliveries")
    async def list_deliveries(
        principal: Reader,
        channel: Text = None,
        status: Annotated[Status | None, Query()] = None,
        rule: Text = None,
        type: Text = None,  # noqa: A002 - the member's name on the wire
        since: Instant = None,
        until: Instant = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> DeliveryPage:
        """List deliveries, the newest first."""
        wanted = Filter(channel=channel, status=status, rule=rule, type=type, since=since, until=until)
        page = await service.page(principal, wanted, limit=limit, cursor=cursor)
        return DeliveryPage(items=[DeliveryOut.of(each) for each in page.items], next=page.next)

    @routes.post("/deliveries/replay")
    async def replay_many(
        principal: Writer, body: ReplayIn = _ALL, dry_run: Annotated[bool, Query()] = False
    ) -> ReplayOut:
        """Let dead deliveries begin again, oldest first and 1,000 at once: those that are named, that fit, or all."""
        wanted = Filter(channel=body.channel, rule=body.rule, type=body.type, since=body.since, until=body.until)
        matched, ids = await service.replay_many(principal, wanted, body.ids, dry_run=dry_run)
        return ReplayOut(matched=matched, replayed=0 if dry_run else len(ids), ids=ids, dry_run=dry_run)

    @routes.get("/deliveries/{delivery}")
    async def show(delivery: DeliveryId, principal: Reader) -> DeliveryDetailOut:
        """Show a delivery with what it tells and every attempt."""
        return DeliveryDetailOut.detail(*await service.get(principal, delivery))

    @routes.post("/deliveries/{delivery}/replay", status_code=202)
    async def replay(delivery: DeliveryId, principal: Writer) -> DeliveryOut:
        """Let a dead delivery begin again, under its id."""
        return DeliveryOut.of(await service.replay(principal, delivery))
