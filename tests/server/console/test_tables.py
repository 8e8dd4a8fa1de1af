"""Lists and records without a browser: what depends on filters, sheets, what is taken back, what is copied."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import click
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from tests.conftest import Servers
from tests.server.console.visitor import browser, form_of, tags_of
from tests.server.plane import Plane, running

from valhalla.cli.main import cli
from valhalla.gate.rules import networks
from valhalla.kit.settings import Settings
from valhalla.server.console import PAGES, copying, drawing, lists, showing, visit
from valhalla.server.console.calling import Caller, Refused

PROXY = networks(["10.0.0.0/8"])


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


def commands(page: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'data-copy="([^"]*)"', page)]


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


@pytest.mark.parametrize(
    "key", ["plain.key", "a;reboot", "$(id)", "`id`", 'it\'s "so"', "a b", "-rf", "--server=http://x"]
)
def test_a_key_in_a_command_is_one_word_and_no_option(key: str) -> None:
    words = shlex.split(copying.one("valhalla flag get", key))
    assert words[:3] == ["valhalla", "flag", "get"]
    assert words[3:] == (["--", key] if key.startswith("-") else [key])


def test_a_key_that_a_terminal_acts_on_has_no_command() -> None:
    assert copying.one("valhalla flag get", "a\x1b[201~\nreboot\n") == ""
    assert copying.one("", "key") == ""


@pytest.mark.parametrize(
    ("command", "chosen", "told"),
    [
        ("valhalla job ls", {}, "valhalla job ls"),
        ("valhalla job ls", {"status": "dead", "name": "a b;c"}, "valhalla job ls --status=dead '--name=a b;c'"),
        ("valhalla job ls", {"nothing": "x"}, ""),
        ("valhalla job ls", {"name": "a\nb"}, ""),
        ("valhalla flag ls", {"q": "new", "owner": "me"}, "valhalla flag ls --search=new --where=owner=me"),
        ("valhalla logs", {"correlation_id": "c"}, "valhalla logs --correlation=c"),
        ("valhalla logs", {"until": "2031-01-01T00:00:00Z"}, ""),
        ("valhalla alert ls", {"unresolved": "true"}, "valhalla alert ls"),
        ("valhalla alert ls", {"status": "resolved"}, "valhalla alert ls --status=resolved"),
        ("valhalla alert ls", {"status": "resolved", "unresolved": "true"}, ""),
        ("valhalla alert ls", {}, ""),
        ("", {}, ""),
    ],
)
def test_a_list_is_copied_with_its_filters_or_not_at_all(command: str, chosen: Mapping[str, str], told: str) -> None:
    assert copying.listing(command, chosen) == told


def test_every_option_that_is_copied_is_there() -> None:
    listed = {page.cli for page in PAGES}
    for words in (*copying.OPTIONS, *copying.REGISTRIES):
        assert words in listed, words
        found: click.Command = cli
        for word in words.split()[1:]:
            assert isinstance(found, click.Group)
            within = found.get_command(click.Context(found), word)
            assert within is not None, words
            found = within
        options = {option for each in found.params for option in each.opts}
        wanted = copying.OPTIONS.get(words, {"q": "search", "": "where"}).values()
        assert {f"--{one}" for one in wanted} <= options, words


async def test_the_filters_are_in_both_commands(chief: httpx.AsyncClient) -> None:
    told = commands((await chief.get("/console/jobs?name=x%27y&status=dead")).text)
    assert shlex.split(told[0]) == ["valhalla", "job", "ls", "--status=dead", "--name=x'y"]
    assert "name=x%27y" in told[1]
    alone = commands((await chief.get("/console/logs?until=2031-01-01T00:00:00Z")).text)
    assert [one.partition(" ")[0] for one in alone] == ["curl"]


def request(peer: str, scheme: str = "http", **headers: str) -> Request:
    sent = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "in.example", **headers}.items()
    ]
    return Request(
        {
            "type": "http", "method": "GET", "path": "/console/", "root_path": "/console", "query_string": b"",
            "scheme": scheme, "server": None, "client": (peer, 1), "headers": sent, "state": {},
        }
    )  # fmt: skip


def reached(asked: Request, public: str | None = None) -> tuple[bool, str]:
    """Return whether a cookie would be secure, and what commands begin with."""
    visit.address_of(asked, PROXY, public)
    response = Response()
    visit.keep(response, asked, "session", "x", 60, "/console")
    return "secure" in response.headers["set-cookie"].lower(), visit.Visit(asked, None, None, None).origin


def test_a_trusted_proxy_says_how_it_was_called_and_nobody_else() -> None:
    assert reached(request("10.0.0.1", x_forwarded_proto="https")) == (True, "https://in.example")
    assert reached(request("10.0.0.1", x_forwarded_proto="http, https")) == (True, "https://in.example")
    assert reached(request("10.0.0.1", x_forwarded_proto="javascript")) == (False, "http://in.example")
    assert reached(request("10.0.0.1")) == (False, "http://in.example")
    assert reached(request("192.0.2.1", x_forwarded_proto="https")) == (False, "http://in.example")
    assert reached(request("192.0.2.1", "https", x_forwarded_proto="http")) == (True, "https://in.example")
    assert reached(request("10.0.0.1", "https", x_forwarded_proto="http")) == (False, "http://in.example")


def test_the_address_in_the_settings_holds_before_what_is_seen() -> None:
    public = "https://valhalla.example/console"
    assert reached(request("192.0.2.1"), public) == (True, "https://valhalla.example")
    assert reached(request("10.0.0.1", x_forwarded_proto="http"), f"{public}/") == (True, "https://valhalla.example")
    deeper = "https://example.com/ops/console"
    assert reached(request("192.0.2.1"), deeper) == (True, "https://example.com/ops")


async def test_behind_a_trusted_proxy_the_session_is_secure_and_commands_use_https(servers: Servers) -> None:
    settings = Settings(
        data_dir=servers.data_dir,
        reap_interval=timedelta(days=1),
        access_log=False,
        pool_size=0,
        worker_jobs=0,
        trusted_proxies=["127.0.0.0/8"],
    )
    async with running(settings, servers.cell, servers.endpoints) as plane, browser(plane) as client:
        client.base_url = "https://plane"
        client.headers["X-Forwarded-Proto"] = "https"
        form = await form_of(client, "http://plane/console/login")
        body = {"_form": form, "key": await plane.admin_key()}
        answer = await client.post("http://plane/console/login", data=body, headers={"Cookie": nonce(client)})
        assert answer.status_code == 303, answer.text
        assert all("secure" in one.lower() for one in answer.headers.get_list("set-cookie"))
        page = (await client.get("/console/jobs")).text
        assert commands(page)[1].endswith(" https://plane/system/jobs")


def nonce(client: httpx.AsyncClient) -> str:
    """What a browser sends back of a secure cookie: the proxy took it over HTTPS."""
    return "; ".join(f"{one.name}={one.value}" for one in client.cookies.jar)


async def test_whoever_calls_directly_cannot_claim_a_scheme(plane: Plane) -> None:
    async with browser(plane) as client:
        answer = await client.get("/console/login", headers={"X-Forwarded-Proto": "https"})
        assert "secure" not in answer.headers["set-cookie"].lower()


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
