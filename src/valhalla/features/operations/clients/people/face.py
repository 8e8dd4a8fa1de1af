"""``/system/people``: who has signed in. People are made by signing in; an operator deactivates or forgets them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.engine import Connection

from valhalla.features.operations.clients.errors import BeyondOwnRights
from valhalla.features.operations.clients.people import rules
from valhalla.features.operations.clients.people.contracts import PREFIX, Person
from valhalla.features.operations.clients.people.errors import PersonNotFound
from valhalla.features.operations.clients.people.rules import Terms
from valhalla.kernel.principal import Principal
from valhalla.kernel.scopes import Role, scopes_of
from valhalla.kit.db import Database
from valhalla.kit.http import WireModel
from valhalla.kit.registry import Change, Record, Registry
from valhalla.kit.registry_routes import Face, registry_router

PATH = "/system/people"


class PersonModel(WireModel):
    """What can be said of a person."""

    active: bool = Field(True, description="whether they may sign in; their sessions end at once when not")


class PersonMore(WireModel):
    """What the issuer and the settings say of one."""

    name: str
    owner: str = Field(description="whose sandboxes they make and see")
    role: Role | None = Field(description="what the settings give their groups now")
    groups: list[str] = Field(description="of the last sign-in, those that had a role")
    issuer: str
    subject: str
    last_used_at: datetime | None = Field(description="a few seconds late")


def router(
    registry: Registry[Person],
    terms: Terms | None,
    last_used: Callable[[str], datetime | None],
    db: Database,
    settle: Callable[[], Awaitable[None]],
) -> APIRouter:
    """Return the routes over the registry."""
    face = face_of(registry, terms, last_used)
    return registry_router(face, db, settle, writes=["patch", "delete"])


def face_of(
    registry: Registry[Person], terms: Terms | None, last_used: Callable[[str], datetime | None]
) -> Face[Person]:
    """Return how people look."""

    def make(_key: str, model: Any, before: Person | None, _principal: Principal) -> Person:
        assert before is not None
        return msgspec.structs.replace(before, active=model.active)

    def role_of(person: Person) -> Role | None:
        return None if terms is None else rules.role_of(person, terms)

    def state(record: Record[Person]) -> Mapping[str, Any]:
        person = record.value
        return {
            "name": person.name,
            "owner": person.owner,
            "role": role_of(person),
            "groups": list(person.groups),
            "issuer": person.issuer,
            "subject": person.subject,
            "last_used_at": last_used(PREFIX + person.name),
        }

    def check(_conn: Connection, principal: Principal, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.before is not None:
                within_rights(principal, role_of(registry.decode(change.key, change.before)))

    return Face(
        registry=registry,
        prefix=PATH,
        tag="clients",
        noun="person",
        read="keys:read",
        write="keys:write",
        model=PersonModel,
        example={"active": False},
        key="id",
        key_form=rules.KEY,
        key_example="person:alice@example.com",
        make=make,
        more=PersonMore,
        state=state,
        search=("name", "owner"),
        filters=("active",),
        check=check,
        missing=PersonNotFound,
    )


def within_rights(principal: Principal, role: Role | None) -> None:
    """Accept that a principal has a hand on somebody of this role.

    Raises:
        BeyondOwnRights: it does not hold all that the role does.
    """
    missing = sorted(scope for scope in scopes_of(role) if not principal.allows(scope))
    if missing:
        raise BeyondOwnRights(f"this key does not hold {', '.join(missing)[:200]}", missing=missing[:20])
