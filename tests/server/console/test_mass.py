"""What is done to all that match is done in steps: together where the API can, and it can be stopped."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx
import pytest
from tests.server.console.visitor import FORM

WHERE = "/console/all/config"


@pytest.fixture
async def entries(admin: httpx.AsyncClient) -> AsyncIterator[list[str]]:
    keys = [f"mass.entry{n}" for n in range(43)]
    await written(admin, [{"op": "put", "key": key, "value": {"value": 1, "type": "integer"}} for key in keys])
    yield keys
    left = (await admin.get("/system/config?q=mass.entry&limit=200")).json()["items"]
    if left:
        await written(admin, [{"op": "delete", "key": one["key"]} for one in left])


async def written(admin: httpx.AsyncClient, operations: list[dict[str, Any]]) -> None:
    answer = await admin.post("/system/config/bulk", json={"operations": operations})
    assert answer.status_code == 200, answer.text


def hidden(page: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
    return {name: unescape(value) for name, value in found}


async def test_a_long_action_goes_in_steps_and_stops_when_it_is_told(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient, entries: list[str]
) -> None:
    where = f"{WHERE}/set?q=mass.entry"
    first = hidden((await chief.get(where)).text)
    form = {"_form": first["_form"], "_targets": first["_targets"], "*": '{"value": 2}'}
    going = await chief.post(where, data=form)
    assert '<progress id="progress" max="43" value="40">' in going.text
    stopped = await chief.post(where, data=hidden(going.text) | {"_stop": "1"}, headers={"HX-Request": "true"})
    assert stopped.text.startswith('<section id="steps"')
    assert "Stopped: done for 40 of 43, 3 were left as they are." in stopped.text
    values = [one["value"] for one in (await admin.get("/system/config?q=mass.entry&limit=200")).json()["items"]]
    assert (values.count(2), values.count(1)) == (40, 3)
    ended = await chief.post(where, data=hidden(going.text), headers={"HX-Request": "true"})
    assert "Done for 43 of 43." in ended.text


async def test_a_registry_deletes_together_and_tells_of_the_one_that_changed(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient, entries: list[str]
) -> None:
    where = f"{WHERE}/delete?q=mass.entry"
    page = (await chief.get(where)).text
    assert FORM.search(page) is not None
    form = hidden(page)
    before = (await admin.get("/system/config/history?limit=1")).json()["items"][0]["revision"]
    dry = await chief.post(where, data=form | {"_preview": "1"})
    assert "It would work for 43 of 43" in dry.text
    await admin.patch(f"/system/config/{entries[7]}", json={"value": 9})
    done = await chief.post(where, data=form | {"reason": "over"})
    assert "Done for 42 of 43." in done.text
    assert "mass.entry7" in done.text
    left = (await admin.get("/system/config?q=mass.entry")).json()["items"]
    assert [one["key"] for one in left] == [entries[7]]
    await written(admin, [{"op": "put", "key": key, "value": {"value": 1, "type": "integer"}} for key in entries])
    page = (await chief.get(where)).text
    assert "Done for 43 of 43." in (await chief.post(where, data=hidden(page) | {"reason": "all"})).text
    history = (await admin.get("/system/config/history?limit=200")).json()["items"]
    assert history[0]["revision"] > before
    together = [one for one in history if one["reason"] == "all"]
    # one request: they have one instant and one correlation id
    assert (len(together), len({one["correlation_id"] for one in together})) == (43, 1)


async def test_what_was_not_read_here_is_not_done(chief: httpx.AsyncClient) -> None:
    form = hidden((await chief.get("/console/all/config/set?q=")).text)
    for wrong in ({"_targets": "{"}, {"_targets": "[]", "_told": "{"}):
        answer = await chief.post(f"{WHERE}/set", data={"_form": form.get("_form", ""), **wrong, "*": "{}"})
        assert answer.status_code in (403, 422), answer.text
