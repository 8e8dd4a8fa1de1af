"""What the forms and reports about security and data tell beforehand, link to, and offer to copy."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from html import unescape
from typing import cast

import click
import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.console.visitor import FORM, tags_of
from tests.server.plane import Plane

from valhalla.cli.main import cli
from valhalla.server.console import PAGES
from valhalla.server.console.commands import Commanded
from valhalla.server.console.contracts import Action, Field
from valhalla.server.console.parts import Parts

COMMANDED = [
    each
    for page in PAGES
    for each in (*page.actions, *page.tools, *(one.action for one in page.sections if isinstance(one, Parts)))
    if isinstance(each, Commanded)
]


async def form_at(client: httpx.AsyncClient, where: str) -> str:
    found = FORM.search((await client.get(where)).text)
    assert found is not None
    return unescape(found[1])


async def test_a_preview_of_a_rule_says_whom_it_would_have_refused(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    for _ in range(3):
        await admin.get("/api/templates?hit=preview")
    where = "/console/do/blocklist/new"
    rule = json.dumps({"type": "path", "value": "/api/templates"})
    body = {"_form": await form_at(chief, where), "_definition": rule, "_preview": "1"}
    page = unescape((await chief.post(where, data=body)).text)
    told = re.search(r"would have blocked (\d+) of the last \d+ requests, (\d+) with a valid key", page)
    assert told is not None, page
    assert int(told[1]) >= 3
    assert "Impact:" in page
    assert "/api/templates" in page
    assert "Keys of" in page
    assert (await admin.get("/system/security/blocklist?q=path:")).json()["items"] == []


async def test_an_edit_without_an_impact_is_previewed_as_before(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    path = "/system/security/policies/console-plain"
    await admin.put(path, json={"when": 'request.path == "/x"', "action": "log"})
    try:
        where = "/console/do/policies/edit?key=console-plain"
        definition = json.dumps({"when": 'request.path == "/y"', "action": "log"})
        body = {"_form": await form_at(chief, where), "_definition": definition, "_preview": "1"}
        page = (await chief.post(where, data=body)).text
        assert "This would change" in page
        assert "Impact:" not in page
        assert "valhalla policy put console-plain --file=DEFINITION.json" in page
    finally:
        await admin.delete(path)


async def test_what_policies_would_make_of_a_request_is_shown(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    path = "/system/security/policies/console-tried"
    await admin.put(path, json={"when": 'request.path == "/api/console-tried"', "action": "block", "shadow": True})
    try:
        listed = (await chief.get("/console/policies")).text
        assert "What would happen" in listed
        assert "of this process since its start" in listed
        where = "/console/do/policies/test"
        draft = {"name": "draft", "when": "principal.anonymous", "action": "challenge"}
        body = {
            "_form": await form_at(chief, where),
            "method": "DELETE",
            "path": "/api/console-tried",
            "counters": '{"failed_auth": 12}',
            "mode": "",
            "policy": json.dumps(draft),
        }
        answer = await chief.post(where, data=body)
        assert answer.status_code == 200, answer.text
        assert "<h2>What would happen</h2>" in answer.text
        rows = re.findall(r'<td data-label="policy"><a href="([^"]+)"', answer.text)
        assert "/console/policies/console-tried" in rows
        assert re.search(r'<p><span class="badge ?">challenge</span>', answer.text)
        refused = await chief.post(where, data={**body, "counters": "{"})
        assert refused.status_code == 422
        usage = (await admin.get("/system/security/policies/usage")).json()["items"]
        assert [(one["matched"], one["shadowed"]) for one in usage if one["name"] == "console-tried"] == [(0, 0)]
    finally:
        await admin.delete(path)


async def test_an_incident_leads_to_its_alert(
    chief: httpx.AsyncClient, plane: Plane, admin: httpx.AsyncClient, issue: Issue
) -> None:
    asker = plane.client((await issue("console-asker", "actions:write", "operations:write", "keys:write"))["key"])
    body = {"type": "key.revoke", "payload": {"id": "console-none"}, "reason": "a test"}
    asked = (await asker.post("/system/security/actions", json=body)).json()
    try:
        async with asyncio.timeout(20):
            # what is asked for becomes an alert a moment later, and the dashboard may be two seconds old
            while not (newest := (await admin.get("/system/security/dashboard")).json()["incidents"]["newest"]):
                await asyncio.sleep(0.2)
        page = (await chief.get("/console/security")).text
        assert f'href="/console/alerts/{newest[0]["id"]}"' in page
        assert (await chief.get(f"/console/alerts/{newest[0]['id']}")).status_code == 200
        part = await chief.get("/console/security", headers={"HX-Request": "true", "HX-Trigger": "rows"})
        assert part.text.startswith('<section id="rows"')
        assert f'href="/console/alerts/{newest[0]["id"]}"' in part.text
    finally:
        await asker.post(f"/system/security/actions/{asked['id']}/cancel", json={})


async def test_an_export_is_chosen_from_what_there_is_and_its_file_is_a_link(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    sources = [one["name"] for one in (await admin.get("/system/exports/sources")).json()["items"]]
    listed = (await chief.get("/console/exports")).text
    links = [unescape(each) for each in re.findall(r'href="(/console/do/exports/new\?source=[^"]+)"', listed)]
    assert len(links) == len(sources)
    chosen = next(each for each in links if "source=history%3Aconfig&" in each)
    assert re.search(r'name="source" value="history:config"', (await chief.get(chosen)).text)
    made = (await admin.post("/system/exports", json={"source": "history:config"})).json()
    for _ in range(100):
        if (await admin.get(f"/system/exports/{made['id']}")).json()["status"] == "completed":
            break
        await asyncio.sleep(0.2)
    where = f"/console/do/exports/link?key={made['id']}"
    body = {"_form": await form_at(chief, where), "seconds": "60"}
    page = (await chief.post(where, data=body)).text
    files = [attrs for tag, attrs in tags_of(page) if tag == "a" and "download" in attrs]
    assert files
    for attrs in files:
        assert (attrs["href"] or "").startswith("/")
        # whoever has the address needs no key
        given = await chief.get(attrs["href"] or "", headers={"cookie": ""})
        assert given.status_code == 200, given.text


@pytest.mark.parametrize("action", COMMANDED, ids=lambda action: cast(Action, action).path + " " + action.name)
def test_the_command_of_an_action_is_one_that_there_is(action: Commanded) -> None:
    """Every word that is no input is a command, every option one of that command."""
    fields = [(each, _sample(each) if f"{{{each.name}" in action.cli else each.default) for each in action.fields]
    words = shlex.split(action.command("a-key", fields, {"part": "1"}))
    assert words.pop(0) == "valhalla"
    found: click.Command = cli
    context = click.Context(cli)
    while isinstance(found, click.Group) and words:
        inner = found.get_command(context, words[0])
        assert inner is not None, words
        words.pop(0)
        found = inner
    known = {option for each in found.params for option in each.opts}
    options = [word.partition("=")[0] for word in words if word.startswith("--") and word != "--"]
    assert set(options) <= known, (words, known)
    needed = [each for each in found.params if isinstance(each, click.Argument) and each.required]
    assert len([word for word in words if not word.startswith("--")]) >= len(needed)


def _sample(field: Field) -> str:
    match field.input:
        case "check":
            return "1"
        case "number":
            return "60"
        case "select":
            return field.options[-1]
        case "time":
            return "2031-01-01T00:00:00"
        case _:
            return "text"


def test_what_is_typed_is_one_word_for_the_shell() -> None:
    reason, mode = Field(name="reason", required=True), Field(name="tags", input="list")
    action = Commanded(name="x", label="X", path="/x", cli="valhalla x {one} a:{reason} --tag={tags}")
    hostile = "x'; rm -rf / #$(id)"
    said = action.command(hostile, [(reason, hostile), (mode, "a, b c")], {})
    assert shlex.split(said) == ["valhalla", "x", hostile, f"a:{hostile}", "--tag=a", "--tag=b c"]
    assert action.command("k", [(reason, ""), (mode, "")], {}) == "valhalla x k a:REASON"
    # no option hides in a key, and nothing of it reaches a terminal
    # a command that leaves out what was typed would do it to more
    typed = Field(name="since", input="time")
    assert action.command("k", [(reason, "y"), (mode, ""), (typed, "2031-01-01T00:00")], {}) == ""
    assert action.command("k", [(reason, "y"), (mode, ""), (typed, "")], {}) == "valhalla x k a:y"
    assert action.command("--url=evil", [(reason, "y"), (mode, "")], {}) == ""
    assert action.command("\x1b[2J", [(reason, "y"), (mode, "")], {}) == ""
