"""GraphQL over the API: the same scopes, cursors and problems, and no query that asks for more than it may."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.server.conftest import Issue, Make
from tests.server.plane import Plane

pytest.importorskip("strawberry")


async def ask(client: httpx.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    answer = await client.post("/graphql", json={"query": query, "variables": variables})
    assert answer.status_code == 200, answer.text
    return answer.json()


def codes(document: dict[str, Any]) -> set[str]:
    return {error["extensions"]["code"] for error in document["errors"]}


async def test_every_list_answers(admin: httpx.AsyncClient, make: Make) -> None:
    made = await make(name="graph-all")
    lists = "sandboxes holds jobs alerts errors logs audit flags config clients people deployments"
    document = await ask(
        admin,
        "{"
        + " ".join(f"{name}(limit: 2) {{ items {{ __typename }} next }}" for name in lists.split())
        + f' sandbox(id: "{made["id"]}") {{ id name status tags expires_at metadata schema }} }}',
    )
    assert "errors" not in document, document
    assert set(document["data"]) == {*lists.split(), "sandbox"}
    assert document["data"]["sandbox"]["name"] == "graph-all"
    assert document["data"]["sandbox"]["expires_at"] == made["expires_at"]
    assert document["data"]["sandbox"]["schema"] == made["schema"] is not None


async def test_clients_have_no_secrets(admin: httpx.AsyncClient) -> None:
    document = await ask(admin, '{ __type(name: "ApiClient") { fields { name } } }')
    names = {field["name"] for field in document["data"]["__type"]["fields"]}
    assert {"id", "owner", "scopes", "prefix"} <= names
    assert not {"digest", "key", "retired"} & names


async def test_every_field_needs_its_scope(plane: Plane, issue: Issue) -> None:
    viewer = plane.client((await issue("graph-viewer", "graphql", "flags:read"))["key"])
    document = await ask(viewer, "{ flags { items { key ledger { id } } } clients { items { id } } }")
    assert document["data"]["clients"] is None
    refused = [error for error in document["errors"] if error["path"] == ["clients"]]
    assert refused[0]["extensions"]["code"] == "forbidden"
    assert "keys:read" in refused[0]["message"]
    assert refused[0]["extensions"]["status"] == 403
    answer = await plane.client((await issue("graph-none", "flags:read"))["key"]).post(
        "/graphql", json={"query": "{ a }"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_one_sees_ones_own_sandboxes_only(
    make: Make, plane: Plane, issue: Issue, admin: httpx.AsyncClient
) -> None:
    made = await make(name="graph-own")
    other = plane.client((await issue("graph-other", "graphql", "sandbox:read"))["key"])
    document = await ask(
        other, "query($id: String!) { sandbox(id: $id) { id } sandboxes { items { id } } }", id=made["id"]
    )
    assert document["data"] == {"sandbox": None, "sandboxes": {"items": []}}
    assert len(codes(document)) == 1
    document = await ask(admin, "query($id: String!) { sandbox(id: $id) { ledger { action } } }", id=made["id"])
    assert document["data"]["sandbox"]["ledger"], document


async def test_nobody_who_is_not_known_learns_the_schema(plane: Plane) -> None:
    answer = await plane.client().post("/graphql", json={"query": "{ __schema { types { name } } }"})
    assert answer.status_code == 401


async def test_there_is_no_get_and_nothing_but_json(admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/graphql", params={"query": "{ __typename }"})).status_code == 405
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = await admin.post("/graphql", content='{"query": "{ __typename }"}', headers={"Content-Type": kind})
        assert answer.status_code in (415, 422), answer.text


async def test_cursors_are_those_of_the_api(admin: httpx.AsyncClient) -> None:
    for name in ("graph.a", "graph.b", "graph.c"):
        await admin.put(f"/system/config/{name}", json={"value": 1, "type": "integer"})
    query = 'query($c: String) { config(limit: 2, q: "graph.", cursor: $c) { items { key } next total } }'
    first = (await ask(admin, query))["data"]["config"]
    second = (await ask(admin, query, c=first["next"]))["data"]["config"]
    keys = [item["key"] for page in (first, second) for item in page["items"]]
    assert keys == ["graph.a", "graph.b", "graph.c"]
    assert codes(await ask(admin, query, c="bad")) == {"invalid-request"}


async def test_what_belongs_to_many_is_read_once(admin: httpx.AsyncClient) -> None:
    for name in ("graph.n1", "graph.n2", "graph.n3", "graph.n4"):
        await admin.put(f"/system/config/{name}", json={"value": 1, "type": "integer"})
    asked: list[str] = []

    def count(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "ledger_entries" in statement and "unnest" in statement and "UPDATE" not in statement:
            asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    try:
        query = '{ config(q: "graph.n") { items { key ledger(limit: 3) { action by { kind owner } } } } }'
        items = (await ask(admin, query))["data"]["config"]["items"]
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", count)
    assert len(items) == 4
    assert all(item["ledger"][0]["by"] == {"kind": "client", "owner": "admin"} for item in items)
    assert len(asked) == 1


_LEDGER = "config(limit: 200) { items { ledger(limit: 200) { id } } }"
_BOMB = "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }} " for n in range(40))


@pytest.mark.parametrize(
    "query",
    [
        "{ " + "a { " * 20 + "b" + " }" * 20 + " }",
        "{ " + "a { " * 900 + "b" + " }" * 900 + " }",
        "{ " + _LEDGER + " }",
        "{ " + " ".join(f"a{n}: flags {{ next }}" for n in range(40)) + " }",
        "{ " + " ".join(f"a{n}: config {{ items {{ key }} }}" for n in range(25)) + " x: " + _LEDGER + " }",
        "{ ...f0 } " + _BOMB + "fragment f40 on Query { " + _LEDGER + " }",
        "{ " + "flags { next } " * 600 + "}",
        "query($n: Int) { config(limit: $n) { items { ledger(limit: $n) { id } } } }",
    ],
    ids=["deep", "deeper", "costly", "aliases", "aliases-and-cost", "fragments", "tokens", "variables"],
)
async def test_a_query_that_asks_for_too_much_is_not_executed(admin: httpx.AsyncClient, query: str) -> None:
    document = await ask(admin, query, n=200)
    assert document["data"] is None
    assert codes(document) == {"query-too-large"}


@pytest.mark.parametrize(
    "query",
    ["{", "{ nothing }", "mutation { a }", "subscription { a }", "{ ...a } fragment a on Query { ...a }", ""],
    ids=["broken", "unknown", "mutation", "subscription", "cycle", "empty"],
)
async def test_what_is_no_query_is_said(admin: httpx.AsyncClient, query: str) -> None:
    document = await ask(admin, query)
    assert document["data"] is None
    assert codes(document) == {"invalid-request"}


async def test_looking_into_the_schema_is_bounded_too(admin: httpx.AsyncClient) -> None:
    nested = "{ __schema { types " + "{ fields { type { fields { type " * 4 + "{ name }" + " } } } }" * 4 + " } }"
    assert (await ask(admin, nested))["data"] is None
    from graphql import get_introspection_query

    document = await ask(admin, get_introspection_query())
    assert "errors" not in document, document.get("errors")
