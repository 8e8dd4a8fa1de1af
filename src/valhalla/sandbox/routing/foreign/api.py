"""``/system/event-sources``: who publishes under subjects of their own, their credentials, and what is mapped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path
from sqlalchemy.engine import Connection

from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, requires
from valhalla.kit.registry import Change
from valhalla.kit.registry_routes import Face, registry_router
from valhalla.sandbox.routing import kinds
from valhalla.sandbox.routing.foreign import accounts, patterns, store
from valhalla.sandbox.routing.foreign.contracts import EventSource
from valhalla.sandbox.routing.foreign.errors import (
    MirrorNeedsRouter,
    SourceInUse,
    SourceInvalid,
    SourceNotFound,
    SourceOverlaps,
)
from valhalla.sandbox.routing.foreign.wire import CredentialsIn, CredentialsOut, MappedKey, SourceModel, SourceState

if TYPE_CHECKING:
    from valhalla.sandbox.routing.foreign.feature import EventSources

PREFIX = "/system/event-sources"
Reader = Annotated[Principal, requires("sources:read")]
Writer = Annotated[Principal, requires("sources:write")]
Name = Annotated[str, Path(pattern=patterns.NAME, max_length=32, examples=["orders"])]


def router(feature: EventSources) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix=PREFIX, tags=["event-sources"], responses=PROBLEMS, route_class=StrictRoute)
    registry, db = feature.registry, feature.db

    async def find(name: str) -> EventSource:
        record = await db.read(registry.find, name)
        if record is None:
            raise SourceNotFound(f"there is no event source '{name}'", name=name)
        return record.value

    @routes.get("/{name}/state")
    async def state(name: Name, _: Reader) -> SourceState:
        """Say what of its claimed keys the server maps now."""
        source = await find(name)
        wanted = patterns.parse(source.subject).wild
        mapped = feature.mapper.mapped.get(source.account, {})
        fault = feature.mapper.faults.get(source.account)
        return SourceState(
            name=name,
            account=accounts.key_of(feature.cell, source.account),
            way=source.way,
            mapped=[
                MappedKey(subject=subject, to=to)
                for subject, to in sorted(mapped.items())
                if kinds.overlap(wanted, subject)
            ],
            fault=None if fault is None else fault.detail,
        )

    @routes.post("/{name}/credentials")
    async def credentials(name: Name, body: CredentialsIn, principal: Writer) -> CredentialsOut:
        """Issue NATS credentials for the programs of a source whose account the control plane makes."""
        source = await find(name)
        if patterns.is_foreign(source.account):
            raise SourceInvalid(
                "the account of this source is yours, and so are the keys of its users",
                help="Make users of the account with 'nsc add user', as you made it.",
            )
        await feature.mapper.follow()
        expires = feature.clock.now() + timedelta(days=body.days)
        await db.run(feature.note_issued, principal, source, body.role)
        return CredentialsOut(
            url=feature.url,
            account=accounts.key_of(feature.cell, source.account),
            creds=accounts.credentials(feature.cell, source, body.role, expires_at=expires),
        )

    def check(conn: Connection, _: Principal, changes: Sequence[Change]) -> None:
        records = registry.load(conn)[1]
        after = {record.key: record.value for record in records}
        for change in changes:
            if change.after is not None:
                after[change.key] = registry.decode(change.key, change.after)
                continue
            after.pop(change.key, None)
            if change.before is not None and registry.decode(change.key, change.before).enabled:
                raise SourceInUse(f"the source '{change.key}' is enabled", name=change.key)
        for change in changes:
            source = after.get(change.key)
            if source is not None and (other := patterns.overlapping(source, after.values())) is not None:
                raise SourceOverlaps(f"'{other.name}' covers some subjects of '{source.name}'", other=other.name)
            if source is not None and _is_mapped(source) and not _was_mapped(change):
                _refuse_mirrors(conn, source)

    def _was_mapped(change: Change) -> bool:
        before = None if change.before is None else registry.decode(change.key, change.before)
        return before is not None and _is_mapped(before)

    face = Face(
        registry=registry,
        prefix=PREFIX,
        tag="event-sources",
        noun="foreign source",
        read="sources:read",
        write="sources:write",
        model=SourceModel,
        example={"subject": "orders.{key}.{type}", "kind": "tenant"},
        key="name",
        key_form=patterns.NAME,
        key_example="orders",
        filters=("account", "kind", "way", "enabled"),
        search=("subject", "description"),
        check=check,
        missing=SourceNotFound,
    )
    return registry_router(face, db, feature.settle, routes)


def _is_mapped(source: EventSource) -> bool:
    return source.enabled and source.way == "mapping"


def _refuse_mirrors(conn: Connection, source: EventSource) -> None:
    """Refuse what a link would be refused for: its sandboxes would wait for copies that nobody makes."""
    keys = store.mirrored(conn, source.kind)
    if keys:
        named = ", ".join(f"{source.kind}:{key}" for key in keys[:3]) + (", …" if len(keys) > 3 else "")
        raise MirrorNeedsRouter(
            f"sandboxes mirror {len(keys)} keys of its kind ({named}), and a mapping moves events without copying them",
            help=f"Let a router copy them: 'valhalla source set {source.name} way=router' and 'valhalla router "
            f"{source.name}' (or '--way router' at 'source new'). Or unlink the mirrors first.",
            source=source.name,
        )
