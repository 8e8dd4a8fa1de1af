"""What every page of the console answers by the rules, and that what people wrote stays text."""

from __future__ import annotations

import re

import httpx
from tests.server.console.visitor import tags_of
from tests.server.plane import Plane

from valhalla.server.console import PAGES

HOSTILE = "<script>alert(1)</script>{{7*7}}\"' onload=x \u202etxt.exe"


LONG = "<b>x</b>" * 1250


async def test_what_people_wrote_stays_text(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    body = {"value": HOSTILE + LONG, "type": "string", "description": HOSTILE}
    assert (await admin.put("/system/config/console.hostile", json=body)).status_code == 201
    await admin.post("/system/alerts", json={"name": "console-hostile", "severity": "info", "title": HOSTILE})
    try:
        for path in ("/console/config", "/console/config/console.hostile", "/console/alerts", "/console/audit"):
            answer = await chief.get(path)
            assert answer.status_code == 200, path
            assert "<script>alert" not in answer.text, path
            assert "<b>x</b>" not in answer.text, path
            assert "&lt;script&gt;" in answer.text or "audit" in path, path
            assert "{{7*7}}" in answer.text or "audit" in path, path
            assert len(answer.text) < 150_000, path
        history = await chief.get("/console/config/console.hostile?view=history")
        assert "&lt;script&gt;" in history.text
        searched = await chief.get("/console/config", params={"q": "<script>x</script>"})
        assert "<script>x" not in searched.text
    finally:
        await admin.delete("/system/config/console.hostile")


async def test_every_page_answers_by_the_rules(chief: httpx.AsyncClient, plane: Plane) -> None:
    weight = 0
    for path in ("", *(page.slug for page in PAGES)):
        answer = await chief.get(f"/console/{path}")
        assert answer.status_code == 200, (path, answer.text)
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy
        assert answer.headers["cache-control"] == "no-store"
        for tag, members in tags_of(answer.text):
            # nothing is loaded from elsewhere, nothing runs that is not a file of ours
            assert tag != "script" or (members.get("src") or "").startswith("/console/static/"), path
            assert tag != "style", path
            assert not {name for name in members if name == "style" or name.startswith("on")}, path
            for name in ("src", "href", "action", "hx-get"):
                assert not re.match(r"(?:https?:)?//|javascript:", members.get(name) or ""), path
        assert len(answer.content) < 150_000, path
        if not path:
            weight = len(answer.content)
            for file in re.findall(r'(?:src|href)="(/console/static/[^"]+)"', answer.text):
                sent = await chief.get(file, headers={"Accept-Encoding": "identity"})
                assert sent.status_code == 200
                assert "immutable" in sent.headers["cache-control"]
                weight += len(sent.content)
    assert weight <= 150_000


async def test_lists_are_there_as_csv_without_formulas(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    await admin.put("/system/config/console.sheet", json={"value": "=1+1", "type": "string"})
    try:
        sheet = await chief.get("/console/config.csv?q=console.sheet")
        assert sheet.headers["content-type"].startswith("text/csv")
        assert "console.sheet,'=1+1" in sheet.text
        assert (await chief.get("/console/config.exe")).status_code == 404
    finally:
        await admin.delete("/system/config/console.sheet")


async def test_problems_are_pages(chief: httpx.AsyncClient) -> None:
    for path in ("/console/nothing", "/console/flags/nothing-of-this-name", "/console/a/b/c/d", "/console/part/none"):
        answer = await chief.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"].startswith("text/html"), path
        assert "content-security-policy" in answer.headers
