"""What is changed through the console's forms: one record, all that match, what was deleted, the mode."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import quote

import httpx
from tests.server.conftest import Issue
from tests.server.console.visitor import FORM, browser, form_of, sign_in
from tests.server.plane import Plane


async def test_a_record_is_edited_as_its_definition_and_rolled_back(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    path, do = "/system/config/console.edited", "/console/do/config"
    await admin.put(path, json={"value": 1, "type": "integer"})
    first: dict[str, Any] = (await admin.get("/system/config/console.edited/history")).json()["items"][0]
    try:
        page = (await chief.get(f"{do}/edit?key=console.edited")).text
        version = re.search(r'name="_version" value="(\d+)"', page)
        assert version is not None
        form = unescape(FORM.search(page)[1])  # type: ignore[index]
        body = {
            "_form": form,
            "_version": version[1],
            "_definition": '{"value": 2, "type": "integer"}',
            "reason": "two",
        }
        preview = await chief.post(f"{do}/edit?key=console.edited", data={**body, "_preview": "1"})
        assert "This would change" in preview.text
        assert (await admin.get(path)).json()["value"] == 1
        broken = await chief.post(f"{do}/edit?key=console.edited", data={**body, "_definition": "{"})
        assert broken.status_code == 422
        done = await chief.post(f"{do}/edit?key=console.edited", data=body)
        assert done.status_code == 303, done.text
        assert (await admin.get(path)).json()["value"] == 2
        # somebody else was faster
        again = await chief.post(f"{do}/edit?key=console.edited", data=body)
        assert again.status_code == 412
        back = {"_form": form, "to_revision": str(first["revision"])}
        assert (await chief.post(f"{do}/rollback?key=console.edited", data=back)).status_code == 303
        assert (await admin.get(path)).json()["value"] == 1
    finally:
        await admin.delete(path)


async def test_a_key_of_any_form_has_a_page(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    limit = {"rate": "9/second", "enabled": False}
    entry = {"value": 1, "type": "integer"}
    for slug, at, key, body in (
        ("limits", "/system/rate-limits", "console:a.b-c", limit),
        ("config", "/system/config", "console/deep/er", entry),
    ):
        path = f"{at}/{quote(key)}"
        assert (await admin.put(path, json=body)).status_code == 201, key
        try:
            listed = (await chief.get(f"/console/{slug}", params={"q": key})).text
            link = re.search(rf'href="(/console/{slug}/[^"?]+)"', listed)
            assert link is not None
            page = await chief.get(unescape(link[1]))
            assert page.status_code == 200
            assert key in unescape(page.text)
            form = await form_of(chief, "/console/")
            gone = await chief.post(f"/console/do/{slug}/delete", params={"key": key}, data={"_form": form})
            assert gone.status_code == 303
            assert (await admin.get(path)).status_code == 404
        finally:
            await admin.delete(path)


async def test_a_key_that_is_made_is_shown_once(chief: httpx.AsyncClient) -> None:
    form = await form_of(chief, "/console/do/clients/new")
    body = {"_form": form, "owner": "console-made", "role": "viewer", "scopes": "jobs:read, flags:read"}
    answer = await chief.post("/console/do/clients/new", data=body)
    assert answer.status_code == 200
    key = re.search(r"vh_[a-z]+_[0-9A-Za-z]+", answer.text)
    assert key is not None
    listed = await chief.get("/console/clients?owner=console-made")
    assert "console-made" in listed.text
    assert key[0] not in listed.text


async def test_the_mode_is_switched_from_here_and_back_while_writes_are_closed(
    plane: Plane, chief: httpx.AsyncClient
) -> None:
    form = await form_of(chief, "/console/do/maintenance/mode")
    switch = "/console/do/maintenance/mode"
    key = await plane.admin_key()
    try:
        answer = await chief.post(switch, data={"_form": form, "mode": "read_only", "reason": "console"})
        assert answer.status_code == 303
        assert "writes are closed" in (await chief.get("/console/")).text
        refused = await chief.post("/console/do/clients/new", data={"_form": form, "owner": "console-closed"})
        assert refused.status_code == 503
        assert "console" in refused.text
        async with browser(plane) as client:
            await sign_in(client, key)
            assert (await client.get("/console/")).status_code == 200
    finally:
        answer = await chief.post(switch, data={"_form": form, "mode": "normal", "reason": "well"})
        assert answer.status_code == 303


async def test_what_is_filtered_is_shown_tried_and_then_done(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    names = [f"console.many.{n}" for n in range(3)]
    for name in (*names, "console.other"):
        assert (await admin.put(f"/system/config/{name}", json={"value": 1, "type": "integer"})).status_code == 201
    try:
        where = "/console/all/config/set?q=console.many"
        page = (await chief.get(where)).text
        packed = re.search(r'name="_targets" value="([^"]+)"', page)
        assert packed is not None
        form = unescape(FORM.search(page)[1])  # type: ignore[index]
        body = {"_form": form, "_targets": unescape(packed[1]), "*": '{"value": 2}'}
        tried = await chief.post(where, data={**body, "_preview": "1"})
        assert "It would work for 3 of 3" in tried.text
        assert (await admin.get(f"/system/config/{names[0]}")).json()["value"] == 1
        # what changes meanwhile is left alone
        await admin.put(f"/system/config/{names[2]}", json={"value": 7, "type": "integer"})
        done = await chief.post(where, data=body)
        assert "Done for 2 of 3" in done.text
        values = [(await admin.get(f"/system/config/{name}")).json()["value"] for name in (*names, "console.other")]
        assert values == [2, 2, 7, 1]
        for broken in ({"*": "[1]"}, {"*": ""}, {"_targets": "{"}):
            assert (await chief.post(where, data={**body, **broken})).status_code == 422
        assert (await chief.get("/console/all/config/edit")).status_code == 404
    finally:
        for name in (*names, "console.other"):
            await admin.delete(f"/system/config/{name}")


async def test_what_was_deleted_is_brought_back(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    await admin.put("/system/config/console.undone", json={"value": 5, "type": "integer"})
    try:
        form = await form_of(chief, "/console/")
        gone = await chief.post("/console/do/config/delete?key=console.undone", data={"_form": form})
        page = (await chief.get(gone.headers["location"])).text
        undo = re.search(r'href="([^"]+)" data-dialog>Undo', page)
        assert undo is not None
        shown = await chief.get(unescape(undo[1]))
        revision = re.search(r'name="to_revision" value="(\d+)"', shown.text)
        assert revision is not None
        back = await chief.post(unescape(undo[1]), data={"_form": form, "to_revision": revision[1]})
        assert back.status_code == 303, back.text
        assert (await admin.get("/system/config/console.undone")).json()["value"] == 5
    finally:
        await admin.delete("/system/config/console.undone")


async def test_what_is_no_entry_of_a_registry_has_its_history_from_the_ledger(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient, plane: Plane, issue: Issue
) -> None:
    body = {"name": "console-history", "severity": "info", "title": "console-history"}
    alert = (await admin.post("/system/alerts", json=body)).json()["alert"]
    await admin.post(f"/system/alerts/{alert['id']}/acknowledge", json={"note": "seen it"})
    page = (await chief.get(f"/console/alerts/{alert['id']}")).text
    history = page[page.index("<h2>History</h2>") :]
    assert "acknowledged" in history
    assert "seen it" in history
    # the ledger is not everybody's
    async with browser(plane) as reader:
        await sign_in(reader, (await issue("console-history-reader", "alerts:read"))["key"])
        page = (await reader.get(f"/console/alerts/{alert['id']}")).text
        assert "console-history" in page
        assert "<h2>History</h2>" not in page
