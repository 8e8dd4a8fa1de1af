"""Event sources over HTTP: declared, refused with a way out, given credentials, and not removed while they map."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.server.conftest import Make
from tests.server.plane import Plane, refused

from valhalla.kit import natsauth

SOURCES = "/system/event-sources"


@pytest.fixture
async def name(admin: httpx.AsyncClient) -> AsyncIterator[str]:
    """A name that is free, and a source that is gone afterwards."""
    made = f"t{secrets.token_hex(4)}"
    yield made
    await admin.patch(f"{SOURCES}/{made}", json={"enabled": False})
    await admin.delete(f"{SOURCES}/{made}")


async def test_a_source_from_its_declaration_to_its_end(admin: httpx.AsyncClient, name: str) -> None:
    """It overlaps no other, shows what is mapped, issues credentials, and is removed when it is off."""
    body = {"name": name, "subject": f"{name}.{{key}}.{{type}}", "kind": f"{name}.order", "account": name}
    made = await admin.post(SOURCES, json=body)
    assert made.status_code == 201, made.text
    assert (made.json()["way"], made.json()["enabled"]) == ("mapping", True)

    other = body | {"name": f"{name}b", "subject": f"{name}.{{key}}.made"}
    problem = refused(await admin.post(SOURCES, json=other), 409, "source-overlaps")
    assert problem["other"] == name

    state = (await admin.get(f"{SOURCES}/{name}/state")).json()
    assert (state["mapped"], state["fault"]) == ([], None)
    issued = (await admin.post(f"{SOURCES}/{name}/credentials", json={"role": "publisher", "days": 1})).json()
    assert issued["account"] == state["account"]
    assert "BEGIN NATS USER JWT" in issued["creds"]

    assert "enabled=false" in refused(await admin.delete(f"{SOURCES}/{name}"), 409, "source-enabled")["help"]
    assert (await admin.patch(f"{SOURCES}/{name}", json={"enabled": False})).status_code == 200
    assert (await admin.delete(f"{SOURCES}/{name}")).status_code == 204
    refused(await admin.get(f"{SOURCES}/{name}/state"), 404, "source-not-found")


async def test_a_mapping_is_refused_where_keys_are_mirrored(
    admin: httpx.AsyncClient, team_a: httpx.AsyncClient, make: Make, name: str
) -> None:
    """As a mirror is where keys are mapped: whichever comes second. A router copies them."""
    kind = f"{name}.order"
    box = await make()
    link = {"kind": kind, "key": "acme", "mode": "mirror", "sample": 0.5}
    assert (await team_a.post(f"/api/sandboxes/{box['id']}/routes", json=link)).status_code in (200, 201)
    body = {"name": name, "subject": f"{name}.{{key}}.{{type}}", "kind": kind, "account": name}
    problem = refused(await admin.post(SOURCES, json=body), 409, "mirror-needs-router")
    assert f"{kind}:acme" in problem["detail"]
    assert "way=router" in problem["help"]
    assert (await admin.post(SOURCES, json=body | {"way": "router"})).status_code == 201
    refused(await admin.patch(f"{SOURCES}/{name}", json={"way": "mapping"}), 409, "mirror-needs-router")
    # what is off maps nothing
    assert (await admin.patch(f"{SOURCES}/{name}", json={"way": "mapping", "enabled": False})).status_code == 200


async def test_what_is_no_source(plane: Plane, admin: httpx.AsyncClient, name: str) -> None:
    """A catch-all, a mistyped key, an account of somebody else's that should be mapped; its users' keys are theirs."""
    body = {"name": name, "subject": "orders.{key}.>", "kind": "tenant"}
    refused(await admin.post(SOURCES, json=body), 422, "source-invalid")
    key = natsauth.KeyPair.derive(plane.runtime.cell, "account", "theirs", name).public
    theirs = body | {"subject": f"{name}.{{key}}", "account": key}
    mistyped = theirs | {"account": "A" + "B" * 55, "way": "router"}
    assert "checksum" in refused(await admin.post(SOURCES, json=mistyped), 422, "source-invalid")["detail"]
    assert "way=router" in refused(await admin.post(SOURCES, json=theirs), 422, "source-invalid")["help"]
    assert (await admin.post(SOURCES, json=theirs | {"way": "router"})).status_code == 201
    problem = refused(await admin.post(f"{SOURCES}/{name}/credentials", json={}), 422, "source-invalid")
    assert "nsc" in problem["help"]
