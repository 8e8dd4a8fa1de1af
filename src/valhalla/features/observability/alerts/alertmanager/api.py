"""``/api/v2``: what stock clients of Alertmanager ask. Bodies are theirs; refusals are problems, as everywhere here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from valhalla.features.observability.alerts.alertmanager import rules
from valhalla.features.observability.alerts.alertmanager.wire import (
    AlertGroup,
    GettableAlert,
    PostableAlert,
    PostableSilence,
    Receiver,
)
from valhalla.features.observability.alerts.contracts import Matcher, Raised
from valhalla.features.observability.alerts.errors import AlertsRefused
from valhalla.features.observability.alerts.matching import Condition, read_matcher, seen
from valhalla.features.observability.alerts.policy import Policy
from valhalla.features.observability.alerts.service import AlertService
from valhalla.features.observability.alerts.silencing import SilenceService
from valhalla.kernel.clock import Clock, isoformat
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid
from valhalla.kit.http import PROBLEMS, StrictRoute, requires
from valhalla.version import VERSION

T = TypeVar("T")

Reader = Annotated[Principal, requires("alerts:read")]
Writer = Annotated[Principal, requires("alerts:write")]
Filters = Annotated[list[Annotated[str, Query(max_length=2000)]] | None, Query(max_length=50)]
Flag = Annotated[bool, Query()]
SilenceId = Annotated[str, Path(max_length=64)]
_TOLD: Final = 20


class Alertmanager:
    """Answers in Alertmanager's forms."""

    def __init__(self, service: AlertService, silences: SilenceService, policy: Policy, *, clock: Clock) -> None:
        self.service = service
        self.silences = silences
        self.policy = policy
        self.clock = clock
        self.started_at = clock.now()

    async def take(self, principal: Principal, sent: Iterable[PostableAlert]) -> None:
        """Take the alerts that have the right form.

        Raises:
            AlertsRefused: some have not.
        """
        now = self.clock.now()
        good: list[Raised] = []
        refused: list[dict[str, Any]] = []
        for index, one in enumerate(sent):
            try:
                good.append(rules.raised(one, now))
            except Invalid as problem:
                refused.append({"pointer": f"/{index}", "detail": problem.detail})
        await self.service.take(principal, good)
        if refused:
            first = refused[0]
            raise AlertsRefused(
                f"{len(refused)} of {len(refused) + len(good)} alerts: {first['detail']}", errors=refused[:_TOLD]
            )

    async def alerts(
        self,
        principal: Principal,
        *,
        active: bool,
        silenced: bool,
        filters: list[str] | None,
        receiver: str | None,
    ) -> list[GettableAlert]:
        """Return what is not over and fits."""
        conditions = [Condition(read_matcher(text)) for text in filters or ()]
        wanted = None if not receiver else Condition(Matcher("receiver", receiver, regex=True))
        over, subscribed, now = self.service.silenced_by(), self.policy.subscribed, self.clock.now()
        found: list[GettableAlert] = []
        for alert in await self.service.unresolved(principal):
            by = over(alert)
            if not (silenced if by else active):
                continue
            labels = seen(alert)
            if not all(condition.holds(labels) for condition in conditions):
                continue
            receivers = subscribed.interested(alert.name, alert.severity, "opened")
            shown = rules.gettable(alert, by, receivers, now)
            if wanted is None or any(wanted.holds({"receiver": one.name}) for one in shown.receivers):
                found.append(shown)
        return found

    def status(self) -> dict[str, Any]:
        """Return what Alertmanager says of itself; there is no cluster of gossip, and the configuration is here."""
        return {
            "cluster": {"status": "disabled", "name": "", "peers": []},
            "versionInfo": {
                "version": VERSION,
                "revision": "",
                "branch": "",
                "buildUser": "valhalla",
                "buildDate": "",
                "goVersion": "",
            },
            "config": {"original": ""},
            "uptime": isoformat(self.started_at),
        }


def router(manager: Alertmanager) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v2", tags=["alertmanager"], responses=PROBLEMS, route_class=StrictRoute)
    _alerts(routes, manager)
    _silences(routes, manager)

    @routes.get("/status")
    async def status(principal: Reader) -> Response:
        """Say what this is."""
        return _json(manager.status())

    @routes.get("/receivers")
    async def receivers(principal: Reader) -> Response:
        """Name the subscriptions."""
        names = manager.policy.subscribed.keys
        return _json([Receiver(name) for name in names or (rules.NOBODY,)])

    return routes


def _alerts(routes: APIRouter, manager: Alertmanager) -> None:
    @routes.post("/alerts")
    async def post_alerts(request: Request, principal: Writer) -> Response:
        """Take a list of alerts as Prometheus sends them; those with an end in the past are resolved."""
        await manager.take(principal, _body(await request.body(), list[PostableAlert]))
        return Response(b"", 200)

    @routes.get("/alerts")
    async def get_alerts(
        principal: Reader,
        active: Flag = True,
        silenced: Flag = True,
        inhibited: Flag = True,
        unprocessed: Flag = True,
        filter: Filters = None,  # noqa: A002 - the parameter's name on the wire
        receiver: Annotated[str | None, Query(max_length=500)] = None,
    ) -> Response:
        """Show every alert that is not over; nothing is ever inhibited or unprocessed."""
        return _json(
            await manager.alerts(principal, active=active, silenced=silenced, filters=filter, receiver=receiver)
        )

    @routes.get("/alerts/groups")
    async def get_groups(
        principal: Reader,
        active: Flag = True,
        silenced: Flag = True,
        inhibited: Flag = True,
        muted: Flag = True,
        filter: Filters = None,  # noqa: A002 - the parameter's name on the wire
        receiver: Annotated[str | None, Query(max_length=500)] = None,
    ) -> Response:
        """Show them by name."""
        found = await manager.alerts(principal, active=active, silenced=silenced, filters=filter, receiver=receiver)
        named = sorted(found, key=_name)
        return _json(
            [
                AlertGroup(labels={"alertname": name}, receiver=Receiver(rules.NOBODY), alerts=tuple(each))
                for name, each in groupby(named, key=_name)
            ]
        )


def _silences(routes: APIRouter, manager: Alertmanager) -> None:
    @routes.get("/silences")
    async def get_silences(
        principal: Reader,
        filter: Filters = None,  # noqa: A002 - the parameter's name on the wire
    ) -> Response:
        """Show silences, also those that ended in the last days."""
        conditions = [Condition(read_matcher(text)) for text in filter or ()]
        found = [
            rules.gettable_silence(one, manager.silences.state(one))
            for one in manager.silences.list(principal)
            if all(condition.holds({each.name: each.value for each in one.matchers}) for condition in conditions)
        ]
        return _json(found)

    @routes.post("/silences")
    async def post_silence(request: Request, principal: Writer) -> Response:
        """Make or change a silence."""
        sent = _body(await request.body(), PostableSilence)
        if not (ends_at := rules.instant(sent.ends_at)):
            raise AlertsRefused("a silence needs an end")
        made = await manager.silences.put(
            principal,
            matchers=[Matcher(one.name, one.value, one.is_regex, one.is_equal is not False) for one in sent.matchers],
            starts_at=rules.instant(sent.starts_at),
            ends_at=ends_at,
            reason=sent.comment[:500],
            created_by=sent.created_by[:200],
            silence_id=sent.id or None,
        )
        return _json({"silenceID": made.id})

    @routes.get("/silence/{silence_id}")
    async def get_silence(silence_id: SilenceId, principal: Reader) -> Response:
        """Show one silence."""
        found = manager.silences.get(principal, silence_id)
        return _json(rules.gettable_silence(found, manager.silences.state(found)))

    @routes.delete("/silence/{silence_id}")
    async def delete_silence(silence_id: SilenceId, principal: Writer) -> Response:
        """End a silence now."""
        await manager.silences.end(principal, silence_id)
        return Response(b"", 200)


def _name(alert: GettableAlert) -> str:
    return alert.labels.get("alertname", "")


def _body(content: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AlertsRefused(f"the body has not the form of Alertmanager's API: {error}") from error


def _json(document: object) -> Response:
    return Response(msgspec.json.encode(document, enc_hook=_encoded), media_type="application/json")


def _encoded(value: object) -> object:
    if isinstance(value, datetime):
        return isoformat(value)
    raise NotImplementedError
