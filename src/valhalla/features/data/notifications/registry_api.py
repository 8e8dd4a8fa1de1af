"""``/system/notify/channels``, ``/rules`` and ``/templates``: the registries, and what can be asked of them besides."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Path, Query, Request

from valhalla.features.data.notifications import faces, payloads, rules, signing
from valhalla.features.data.notifications.channels import ChannelService
from valhalla.features.data.notifications.checking import bad
from valhalla.features.data.notifications.composing import example
from valhalla.features.data.notifications.contracts import Item, Template
from valhalla.features.data.notifications.delivering import Outfit
from valhalla.features.data.notifications.delivery_wire import KeysOut, ResumedOut, SecretOut, TestOut
from valhalla.features.data.notifications.errors import BadChannel, TemplateNotFound
from valhalla.features.data.notifications.faces import PREFIX
from valhalla.features.data.notifications.masking import Masking
from valhalla.features.data.notifications.policy import Policy
from valhalla.features.data.notifications.rendering import Renderer
from valhalla.features.data.notifications.senders.webhook import seed
from valhalla.features.data.notifications.service import NotificationService
from valhalla.features.data.notifications.wire import EventIn, PreviewIn, PreviewOut, RoutedOut, RouteOut
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit.cellkey import CellKey
from valhalla.kit.children import ChildFailed
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, principal_of, requires
from valhalla.kit.registry_routes import registry_router
from valhalla.kit.sealing import MASK

Reader = Annotated[Principal, requires("notifications:read")]
Writer = Annotated[Principal, requires("notifications:write")]
Name = Annotated[str, Path(max_length=63, examples=["ops"])]


def channels_router(
    service: ChannelService, policy: Policy, masking: Masking, outfit: Outfit, cell: CellKey, db: Database
) -> APIRouter:
    """Return the routes of channels."""

    async def known_services(request: Request) -> None:
        """Refuse apprise URLs that nobody understands, before anything is locked: asking a child takes its time."""
        urls = await _members(request, "apprise", "urls")
        asked = [(pointer, url) for pointer, url in urls if not url.endswith(f"://{MASK}")]
        if not asked:
            return
        try:
            answer: dict[str, Any] = await outfit.chat.ask(
                {"urls": [url for _, url in asked], "check": True}, seconds=10.0
            )
        except ChildFailed as error:
            raise bad(BadChannel, asked[0][0], f"this URL cannot be read: {error}") from error
        unknown: list[int] = answer["unknown"]
        for n in unknown:
            raise bad(BadChannel, asked[n][0], "apprise knows no such service, or the URL lacks something")

    routes = APIRouter(
        prefix=f"{PREFIX}/channels",
        tags=["notifications"],
        responses=PROBLEMS,
        route_class=StrictRoute,
        dependencies=[Depends(known_services)],
    )

    @routes.post("/{name}/test")
    async def test(name: Name, principal: Writer) -> TestOut:
        """Send a test message now, past the queue, and say what came of it."""
        result, seconds = await service.test(principal, name)
        return TestOut(
            delivered=result.outcome == "delivered",
            outcome=result.outcome,
            status=result.status,
            error=result.error,
            excerpt=result.excerpt,
            seconds=round(seconds, 6),
        )

    @routes.post("/{name}/resume")
    async def resume(name: Name, principal: Writer) -> ResumedOut:
        """Forget that the channel failed, and try at once what waits for its next attempt."""
        return ResumedOut(channel=name, hurried=await service.resume(principal, name))

    @routes.post("/{name}/secret")
    async def rotate(
        name: Name,
        principal: Writer,
        at_once: Annotated[bool, Query(description="else the old secret signs beside it for a day")] = False,
    ) -> SecretOut:
        """Make a new signing secret and tell it, this once."""
        secret, until = await service.rotate(principal, name, at_once=at_once)
        return SecretOut(secret=secret, old_until=until)

    @routes.get("/{name}/keys")
    async def keys(name: Name, principal: Reader) -> KeysOut:
        """Show what receivers verify with."""
        channel, secrets = await service.keys(principal, name)
        assert channel.webhook is not None
        signatures: list[str] = [*channel.webhook.signatures]
        public = signing.public(signing.signing_key(seed(cell, name))) if "v1a" in signatures else None
        return KeysOut(signatures=signatures, public_key=public, secrets=secrets)

    return registry_router(faces.channel_face(policy, masking), db, policy.settle, routes)


def rules_router(service: NotificationService, policy: Policy, db: Database, clock: Clock) -> APIRouter:
    """Return the routes of rules."""
    routes = APIRouter(prefix=f"{PREFIX}/rules", tags=["notifications"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.post("/test")
    async def test(body: EventIn, principal: Reader) -> RouteOut:
        """Say what the rules would make of an event. Nothing is sent."""
        item = _item(body, clock)
        now = clock.now()
        items = [
            RoutedOut(
                channel=channel,
                rule=rule.name,
                due_at=max(plan.due_at, now),
                bundled=plan.bundle is not None,
                exists=policy.channel(channel) is not None,
            )
            for channel, rule, plan in service.route(body.type, item)
        ]
        return RouteOut(severity=item.severity, title=item.title, items=items)

    return registry_router(faces.rule_face(policy), db, policy.settle, routes)


def templates_router(policy: Policy, renderer: Renderer, db: Database, clock: Clock) -> APIRouter:
    """Return the routes of templates."""

    async def readable(request: Request) -> None:
        """Refuse templates that cannot be rendered, before anything is locked."""
        if request.url.path.endswith("/preview"):
            return
        for _, document in await _documents(request):
            parts = {name: document.get(name) for name in ("body", "subject", "html")}
            if isinstance(parts["body"], str) and all(each is None or isinstance(each, str) for each in parts.values()):
                template = Template("given", **cast("dict[str, Any]", parts))
                await renderer.attempt(template, payloads.context(example(_item(_EXAMPLE, clock))))

    routes = APIRouter(
        prefix=f"{PREFIX}/templates",
        tags=["notifications"],
        responses=PROBLEMS,
        route_class=StrictRoute,
        dependencies=[Depends(readable)],
    )

    @routes.post("/preview")
    async def preview(body: PreviewIn, principal: Reader) -> PreviewOut:
        """Render a template with an event, as it would be sent; nothing is sent."""
        if body.template is not None:
            template = Template("given", body.template.body, body.template.subject, body.template.html)
        else:
            found = policy.template(body.name or "")
            if found is None:
                raise TemplateNotFound(f"there is no notification template {(body.name or '')!a}")
            template = found
        rendered = await renderer.attempt(template, payloads.context(example(_item(body.event, clock))))
        subject = None if rendered.subject is None else rules.line(rendered.subject)
        return PreviewOut(subject=subject, body=rendered.body, html=rendered.html)

    return registry_router(faces.template_face(policy), db, policy.settle, routes)


_EXAMPLE = EventIn(type="alert.opened", severity="error", title="An example", data={"name": "an.example"})


def _item(event: EventIn, clock: Clock) -> Item:
    data = {**event.data, **({} if event.title is None else {"title": event.title})}
    severity = event.severity or rules.severity_of(event.type, data)
    data.setdefault("severity", severity)
    return Item(event.type, clock.now(), severity, rules.title_of(event.type, "example", data), data, "example")


async def _documents(request: Request) -> list[tuple[str, dict[str, Any]]]:
    """Return what a write sends, and where in the body it is; nothing of what has not the form of a write."""
    if request.method not in ("POST", "PUT", "PATCH") or not await request.body():
        return []
    # a router's dependencies come before the route's own
    principal_of(request).require("notifications:write")
    body: Any = await request.json()
    if not isinstance(body, dict):
        return []
    found: list[tuple[str, dict[str, Any]]] = [("", cast("dict[str, Any]", body))]
    operations: Any = found[0][1].get("operations")
    if isinstance(operations, list):
        for n, operation in enumerate(cast("list[Any]", operations)):
            value: Any = cast("dict[str, Any]", operation).get("value") if isinstance(operation, dict) else None
            if isinstance(value, dict):
                found.append((f"operations/{n}/value/", cast("dict[str, Any]", value)))
    return found


async def _members(request: Request, outer: str, inner: str) -> list[tuple[str, str]]:
    """Return the texts of a list two steps down in what a write sends, each with its pointer."""
    found: list[tuple[str, str]] = []
    for base, document in await _documents(request):
        holder: Any = document.get(outer)
        values: Any = cast("dict[str, Any]", holder).get(inner) if isinstance(holder, dict) else None
        if isinstance(values, list):
            texts = [(n, each) for n, each in enumerate(cast("list[Any]", values)) if isinstance(each, str)]
            found += [(f"{base}{outer}/{inner}/{n}", each) for n, each in texts[:20]]
    return found
