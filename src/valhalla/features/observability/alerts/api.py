"""``/system/alerts``: raise, look, acknowledge, resolve, silence."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query

from valhalla.features.observability.alerts.contracts import Filter, Matcher, Status
from valhalla.features.observability.alerts.service import AlertService
from valhalla.features.observability.alerts.silencing import SilenceService
from valhalla.features.observability.alerts.wire import (
    AlertIn,
    AlertOut,
    AlertPage,
    AlertSilenceIn,
    BulkIn,
    BulkOut,
    NoteIn,
    RaisedOut,
    SilenceIn,
    SilenceList,
    SilenceOut,
)
from valhalla.kernel.alerting import Severity
from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, requires, while_closed

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("alerts:read")]
Writer = Annotated[Principal, requires("alerts:write")]
Reference = Annotated[str, Path(max_length=64, description="id or fingerprint", examples=["k3v9x0q2m1n8b7c6"])]
SilenceId = Annotated[str, Path(max_length=64)]
_SILENT: Final = NoteIn()
Text = Annotated[str | None, Query(min_length=1, max_length=500)]


def router(service: AlertService, silences: SilenceService) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/system/alerts", tags=["alerts"], responses=PROBLEMS, route_class=StrictRoute)
    _silences(routes, service, silences)

    @routes.post("", status_code=201)
    async def raise_alert(body: AlertIn, principal: Writer) -> RaisedOut:
        """Raise an alert, or count one more occurrence of it."""
        alert = await service.report(
            principal,
            name=body.name,
            severity=body.severity,
            title=body.title,
            source=body.source,
            labels=dict(body.labels),
            context=body.context,
        )
        return RaisedOut(alert=None if alert is None else AlertOut.of(alert, service.silenced_by()))

    @routes.get("")
    async def list_alerts(
        principal: Reader,
        status: Annotated[list[Status] | None, Query(max_length=3)] = None,
        unresolved: Annotated[bool, Query(description="only open and acknowledged ones")] = False,
        severity: Annotated[list[Severity] | None, Query(max_length=4)] = None,
        source: Text = None,
        name: Text = None,
        text: Text = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> AlertPage:
        """List alerts, those that were opened last first; without filters also the resolved ones."""
        statuses: tuple[Status, ...] = ("open", "acknowledged") if unresolved and not status else tuple(status or ())
        wanted = Filter(statuses=statuses, severities=tuple(severity or ()), source=source, name=name, text=text)
        page = await service.page(principal, wanted, limit=limit, cursor=cursor)
        over = service.silenced_by()
        return AlertPage(items=[AlertOut.of(alert, over) for alert in page.items], next=page.next)

    @routes.post("/bulk")
    @while_closed("write")
    async def bulk(body: BulkIn, principal: Writer, dry_run: Annotated[bool, Query()] = False) -> BulkOut:
        """Acknowledge or resolve every alert that fits; with ``dry_run`` only say which."""
        to: Status = "acknowledged" if body.action == "acknowledge" else "resolved"
        done = await service.bulk(principal, to, body.filter.value(), note=body.note, dry_run=dry_run)
        return BulkOut(matched=done.matched, changed=done.changed, ids=list(done.ids), dry_run=done.dry_run)

    @routes.get("/{reference}")
    async def show(reference: Reference, principal: Reader) -> AlertOut:
        """Show one alert."""
        return AlertOut.of(await service.get(principal, reference), service.silenced_by())

    @routes.post("/{reference}/acknowledge")
    @while_closed("write")
    async def acknowledge(reference: Reference, principal: Writer, body: NoteIn = _SILENT) -> AlertOut:
        """Look after it: it escalates no more."""
        alert = await service.acknowledge(principal, reference, body.note)
        return AlertOut.of(alert, service.silenced_by())

    @routes.post("/{reference}/resolve")
    @while_closed("write")
    async def resolve(reference: Reference, principal: Writer, body: NoteIn = _SILENT) -> AlertOut:
        """Say that it is over; when it happens again it is opened again."""
        alert = await service.resolve(principal, reference, body.note)
        return AlertOut.of(alert, service.silenced_by())

    return routes


def _silences(routes: APIRouter, service: AlertService, silences: SilenceService) -> None:
    @routes.get("/silences")
    async def list_silences(principal: Reader, expired: Annotated[bool, Query()] = False) -> SilenceList:
        """List silences; with ``expired`` also those that have ended."""
        found = silences.list(principal, expired=expired)
        return SilenceList(items=[SilenceOut.of(one, silences.state(one)) for one in found])

    @routes.post("/silences", status_code=201)
    @while_closed("write")
    async def silence(body: SilenceIn, principal: Writer) -> SilenceOut:
        """Tell nobody of the alerts that fit; they are still counted and shown."""
        made = await silences.put(
            principal,
            matchers=[one.matcher() for one in body.matchers],
            starts_at=body.starts_at,
            ends_at=body.until,
            reason=body.reason,
        )
        return SilenceOut.of(made, silences.state(made))

    @routes.get("/silences/{silence_id}")
    async def show_silence(silence_id: SilenceId, principal: Reader) -> SilenceOut:
        """Show one silence."""
        found = silences.get(principal, silence_id)
        return SilenceOut.of(found, silences.state(found))

    @routes.delete("/silences/{silence_id}")
    async def end_silence(silence_id: SilenceId, principal: Writer) -> SilenceOut:
        """End a silence now; it stays visible for five days."""
        ended = await silences.end(principal, silence_id)
        return SilenceOut.of(ended, silences.state(ended))

    @routes.post("/{reference}/silence", status_code=201)
    @while_closed("write")
    async def silence_alert(reference: Reference, body: AlertSilenceIn, principal: Writer) -> SilenceOut:
        """Tell nobody of this alert until then."""
        alert = await service.get(principal, reference)
        made = await silences.put(
            principal,
            matchers=[Matcher("fingerprint", alert.fingerprint)],
            ends_at=body.until,
            reason=body.reason,
        )
        return SilenceOut.of(made, silences.state(made))
