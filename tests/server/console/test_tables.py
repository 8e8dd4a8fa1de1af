"""Lists and records without a browser: what depends on filters, sheets, what is taken back, what is drawn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.server.console.visitor import commands, form_of, tags_of

from valhalla.server.console import drawing, lists, showing
from valhalla.server.console.calling import Caller, Refused


@pytest.fixture
async def entries(admin: httpx.AsyncClient) -> AsyncIterator[list[str]]:
    keys = [f"tables.entry{n}" for n in range(9)]
    for key in keys:
        await admin.put(f"/system/config/{key}", json={"value": 1, "type": "integer"})
    yield keys
    for key in keys:
        await admin.delete(f"/system/config/{key}")


def links(page: str) -> list[str]:
    return [members["href"] or "" for tag, members in tags_of(page) if tag == "a" and "href" in members]


async def test_other_filters_change_what_acts_by_them_and_a_renewal_only_the_rows(chief: httpx.AsyncClient) -> None:
    asked = {"HX-Request": "true"}
    filtered = await chief.get("/console/jobs?status=dead&name=one.only&queue=", headers=asked)
    assert filtered.text.lstrip().startswith('<section id="rows"')
    found = links(filtered.text)
    assert next(one for one in found if "/do/jobs/retry-all" in one).count("name=one.only") == 1
    assert any(one.startswith("/console/jobs.csv?status=dead&name=one.only") for one in found)
    assert any("name=one.only" in one for one in commands(filtered.text) if one.startswith("curl"))
    swapped = [members["id"] for _, members in tags_of(filtered.text) if "hx-swap-oob" in members]
    assert swapped == ["tools", "copies"]
    renewed = await chief.get("/console/jobs?name=one.only", headers={**asked, "HX-Trigger": "rows"})
    assert "hx-swap-oob" not in renewed.text
    # what goes back in the browser's history wants the whole page
    restored = await chief.get("/console/jobs?name=one.only", headers={**asked, "HX-History-Restore-Request": "true"})
    assert restored.text.startswith("<!doctype html>")


async def test_a_report_is_shown_anew_with_other_filters(chief: httpx.AsyncClient) -> None:
    answer = await chief.get("/console/security?window=7d", headers={"HX-Request": "true"})
    assert answer.headers["hx-redirect"] == "/console/security?window=7d"


async def test_filters_that_were_taken_off_stay_off(chief: httpx.AsyncClient) -> None:
    """A page has filters of its own until others are chosen: the sheet must not have them when the table has not."""
    for query, sheet in (
        ("", "unresolved=true"),
        ("?unresolved=&severity=", "status="),
        ("?severity=info", "severity=info"),
    ):
        page = (await chief.get(f"/console/alerts{query}")).text
        assert f"/console/alerts.csv?{sheet}" in links(page), query


async def test_undo_is_that_of_the_last_action(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    path, do, here = "/system/config/tables.undone", "/console/do/config", "/console/config/tables.undone"
    await admin.put(path, json={"value": 0, "type": "integer"})
    form = await form_of(chief, "/console/")

    async def edit(value: int, back: str) -> str:
        data = {"_form": form, "_back": back, "_definition": f'{{"value": {value}, "type": "integer"}}'}
        answer = await chief.post(f"{do}/edit?key=tables.undone", data=data)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def said(address: str) -> Mapping[str, list[str]]:
        return parse_qs(urlsplit(address).query)

    try:
        first = await edit(1, here)
        second = await edit(2, first)
        newest: Any = (await admin.get(f"{path}/history")).json()["items"][0]
        assert said(second)["undo"] == [str(newest["revision"] - 1)]
        assert said(second)["done"] == ["edit"]
        undone = {"_form": form, "to_revision": said(second)["undo"][0], "_back": second}
        back = (await chief.post(f"{do}/rollback?key=tables.undone", data=undone)).headers["location"]
        assert (await admin.get(path)).json()["value"] == 1
        # taking back is not taken back, and what was said before is gone
        assert said(back) == {"done": ["rollback"]}
        # an edit that changed nothing has nothing to take back
        assert "undo" not in said(await edit(1, second))
        gone = await chief.post(f"{do}/delete?key=tables.undone", data={"_form": form, "_back": second})
        assert said(gone.headers["location"])["done"] == ["delete"]
    finally:
        await admin.delete(path)


async def test_undo_after_kill_and_revive_kills_again(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    path, do = "/system/flags/tables-flag", "/console/do/flags"
    body = {"variants": {"on": True, "off": False}, "defaultVariant": "on"}
    assert (await admin.put(path, json=body)).status_code == 201
    form = await form_of(chief, "/console/")
    try:
        back = "/console/flags/tables-flag"
        for action in ("kill", "revive"):
            answer = await chief.post(
                f"{do}/{action}?key=tables-flag",
                data={"_form": form, "_back": back, "variant": "off" * (action == "kill")},
            )
            assert answer.status_code == 303, answer.text
            back = answer.headers["location"]
        revision = parse_qs(urlsplit(back).query)["undo"][0]
        await chief.post(f"{do}/rollback?key=tables-flag", data={"_form": form, "to_revision": revision})
        assert (await admin.get(path)).json()["killed"]
    finally:
        await admin.delete(path)


async def test_what_is_sorted_has_its_value_beside_what_is_shown(chief: httpx.AsyncClient) -> None:
    assert (showing.cell(1234).text, showing.cell(1234).rank) == ("1,234", 1234)
    assert (showing.cell(90.0, "seconds").text, showing.cell(90.0, "seconds").rank) == ("1.5 min", 90.0)
    assert showing.cell("1,234").rank is None
    assert showing.cell(None).rank is None
    page = (await chief.get("/console/jobs")).text
    assert 'class="number"' not in page or "data-rank=" in page


async def test_a_sheet_goes_on_to_the_end(
    chief: httpx.AsyncClient, entries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "_SHEET_PAGE", 2)
    sheet = (await chief.get("/console/config.csv?q=tables.entry")).text
    assert [line.partition(",")[0] for line in sheet.splitlines()] == ["key", *entries]


@pytest.mark.parametrize(("status", "wait", "whole"), [(429, 0.01, True), (429, 3600, False), (503, 1, False)], ids=str)
async def test_a_sheet_waits_for_limits_and_says_when_it_ends_early(
    chief: httpx.AsyncClient, entries: list[str], monkeypatch: pytest.MonkeyPatch, status: int, wait: float, whole: bool
) -> None:
    monkeypatch.setattr(lists, "_SHEET_PAGE", 2)
    get, asked = Caller.get, 0

    async def once_refused(self: Caller, path: str, query: Mapping[str, Any] | None = None) -> Any:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Refused(status, {"detail": "=not now", "retry_after": wait})
        return await get(self, path, query)

    monkeypatch.setattr(Caller, "get", once_refused)
    sheet = (await chief.get("/console/config.csv?q=tables.entry")).text.splitlines()
    if whole:
        assert len(sheet) == 10
    else:
        assert sheet[-1] == "THIS FILE IS NOT COMPLETE,'=not now,Ask for it again."
        assert len(sheet) == 4


def span(n: int, trace: str) -> dict[str, Any]:
    begin = time.time_ns() + n
    return {
        "traceId": trace, "spanId": f"{n + 1:016x}", "name": f"span {n}",
        "startTimeUnixNano": str(begin), "endTimeUnixNano": str(begin + 1000),
    }  # fmt: skip


async def test_a_long_trace_says_how_much_of_it_is_drawn(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    many = [{"span_id": str(n), "started_at": "2031-01-01T00:00:00Z", "seconds": 1.0} for n in range(501)]
    assert len(drawing.waterfall(many)) == 500
    trace = f"{time.time_ns():032x}"
    spans = [span(n, trace) for n in range(503)]
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "tables"}}]}
    sent = {"resourceSpans": [{"resource": service, "scopeSpans": [{"spans": spans}]}]}
    assert (await admin.post("/v1/traces", json=sent)).status_code == 200
    page = ""
    async with asyncio.timeout(20):
        while " 503 spans" not in page:
            page = (await chief.get(f"/console/traces/{trace}")).text
            await asyncio.sleep(0.1)
    assert "500 of 503 spans are drawn: 3 are not shown." in page
    assert page.count('<svg class="bar"') == 500
