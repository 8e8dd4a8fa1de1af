"""How the registry of clients looks: reads and PATCH are those of every registry; a revoked key never comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from valhalla.features.operations.clients import guards
from valhalla.features.operations.clients.contracts import ApiClient
from valhalla.features.operations.clients.errors import ClientNotFound
from valhalla.features.operations.clients.networks import networks
from valhalla.features.operations.clients.service import ClientService
from valhalla.features.operations.clients.wire import ClientModel, ClientMore
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid
from valhalla.kit.registry import Record
from valhalla.kit.registry_routes import Face

PREFIX = "/system/api-clients"


def face_of(service: ClientService, last_used: Callable[[str], datetime | None]) -> Face[ApiClient]:
    """Return the face over the service's registry."""

    def make(_key: str, model: Any, before: ApiClient | None, principal: Principal) -> ApiClient:
        assert before is not None
        guards.within_rights(principal, before)
        if model.expires_at is not None and model.expires_at != before.expires_at:
            _future(model.expires_at, service.clock.now())
        after = msgspec.structs.replace(
            before,
            owner=model.owner,
            scopes=tuple(sorted(set(model.scopes))),
            role=model.role,
            name=model.name or before.name,
            expires_at=model.expires_at,
            networks=tuple(map(str, networks(model.networks))),
            limits=tuple(model.limits),
        )
        guards.check(after)
        guards.within_rights(principal, after)
        return after

    def state(record: Record[ApiClient]) -> Mapping[str, Any]:
        client, now = record.value, service.clock.now()
        overlap = max((old.until for old in client.retired if old.until > now), default=None)
        shown = {name: getattr(client, name) for name in ClientMore.model_fields if hasattr(client, name)}
        return {**shown, "overlap_until": overlap, "last_used_at": last_used(client.id)}

    return Face(
        registry=service.registry,
        prefix=PREFIX,
        tag="clients",
        noun="API client",
        read="keys:read",
        write="keys:write",
        model=ClientModel,
        example={"owner": "team-a", "role": "developer", "networks": ["10.0.0.0/8"]},
        key="id",
        key_example="k3v9x0q2m1n8b7c6",
        make=make,
        more=ClientMore,
        state=state,
        filters=("owner", "role", "scopes"),
        search=("name", "owner", "prefix"),
        check=lambda conn, _principal, changes: service.keep_admin(conn, changes),
        missing=ClientNotFound,
    )


def _future(instant: datetime, now: datetime) -> None:
    if instant <= now:
        raise Invalid("the expiry has already passed", help="To end a key now, revoke or deactivate it.")
