"""What belongs to several things at once: asked once for all of them, however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import strawberry
from strawberry.dataloader import DataLoader

from valhalla.features.operations.clients import Clients
from valhalla.features.operations.clients.people import PREFIX
from valhalla.kernel.problems import Invalid
from valhalla.kit.audit import LedgerEntryOut
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.server.console.calling import Caller
from valhalla.server.graphql.measuring import MOST
from valhalla.server.graphql.modelling import Models

KEYS, AUDIT = "keys:read", "audit:read"
# the members that name a principal, by model; ``actor`` is who that is
ACTORS: Final[Mapping[str, str]] = {
    "LedgerEntryOut": "actor",
    "SandboxOut": "created_by",
    "HoldOut": "requested_by",
    "DeploymentOut": "actor",
}
# the kind under which the ledger knows things, and the member that is their subject there
SUBJECTS: Final[Mapping[str, tuple[str, str]]] = {
    "SandboxOut": ("sandbox", "id"),
    "FlagOut": ("flags", "key"),
    "ConfigEntryOut": ("config", "key"),
    "ApiClientOut": ("api_clients", "id"),
    "PersonOut": ("people", "id"),
}


@strawberry.type(description="who did something: an API client, a person, or the system itself")
class Actor:
    """Who did something."""

    id: str
    kind: str
    name: str | None
    owner: str | None
    role: str | None
    active: bool | None


@dataclass(frozen=True, slots=True)
class Context:
    """What a query has while it runs."""

    caller: Caller
    actors: DataLoader[str, Mapping[str, Any]]
    ledger: DataLoader[tuple[str, str, int], Sequence[Mapping[str, Any]]]


def context(caller: Caller, clients: Clients, db: Database, ledger: Ledger) -> Context:
    """Return a fresh one: what it has read, it has read for this caller and now."""

    async def actors(ids: list[str]) -> Sequence[Mapping[str, Any]]:
        return [_actor(clients, id_) for id_ in ids]

    async def entries(wanted: list[tuple[str, str, int]]) -> Sequence[Sequence[Mapping[str, Any]]]:
        found = await db.read(
            ledger.recent, [(kind, subject) for kind, subject, _ in wanted], max(n for *_, n in wanted)
        )
        return [
            [each.model_dump(mode="json") for each in LedgerEntryOut.each(found.get((kind, subject), ())[:most])]
            for kind, subject, most in wanted
        ]

    return Context(caller, DataLoader(load_fn=actors), DataLoader(load_fn=entries))


def relations(model: str, models: Models) -> dict[str, Any]:
    """Return the fields that records of a model have beside its members."""
    found: dict[str, Any] = {}
    if model in ACTORS:
        found["by" if ACTORS[model] == "actor" else "actor"] = _by(ACTORS[model])
    if model in SUBJECTS:
        found["ledger"] = _ledger(*SUBJECTS[model], models)
    return found


def _by(member: str) -> Any:
    async def by(root: Any, info: strawberry.Info) -> Actor | None:
        info.context.caller.session.principal.require(KEYS)
        name = root.get(member)
        return None if name is None else await info.context.actors.load(name)

    return strawberry.field(resolver=by, description=f"who '{member}' is; needs {KEYS}")


def _ledger(kind: str, member: str, models: Models) -> Any:
    entry = models.type_of(LedgerEntryOut, relations("LedgerEntryOut", models))

    async def ledger(root: Any, info: strawberry.Info, limit: int = 20) -> Any:
        info.context.caller.session.principal.require(AUDIT)
        if not 1 <= limit <= MOST:
            raise Invalid(f"limit is from 1 to {MOST}")
        return await info.context.ledger.load((kind, root[member], limit))

    ledger.__annotations__["return"] = list[entry]
    return strawberry.field(resolver=ledger, description=f"what happened to it, newest first; needs {AUDIT}")


def _actor(clients: Clients, id_: str) -> Mapping[str, Any]:
    empty = {"id": id_, "kind": "system", "name": None, "owner": None, "role": None, "active": None}
    if id_.startswith(PREFIX):
        person, principal = clients.people.find(id_), clients.people.find_principal(id_)
        if person is None:
            return {**empty, "kind": "person"}
        known = {"name": person.name, "owner": person.owner, "active": person.active and principal is not None}
        return {**empty, "kind": "person", **known}
    client = clients.find(id_)
    if client is None:
        return {**empty, "kind": "unknown" if id_ != "system" else "system"}
    known = {"name": client.name, "owner": client.owner, "role": client.role, "active": client.active}
    return {**empty, "kind": "client", **known}
