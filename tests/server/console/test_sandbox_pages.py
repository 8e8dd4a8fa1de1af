"""A sandbox's page: its routes, its newest events and dead letters, what it uses, and what is done to each."""

from __future__ import annotations

import inspect
import re
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any, cast

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.console.desk import Desk
from tests.server.console.visitor import FORM, browser, sign_in
from tests.server.plane import Plane

from valhalla.cli.sandbox import ls
from valhalla.sandbox.routing import envelope, subjects
from valhalla.sandbox.routing.contracts import DEAD_STREAM
from valhalla.sdk import calls
from valhalla.sdk.aclient import AsyncClient
from valhalla.sdk.client import Client
from valhalla.server.console import lanes

PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}
HOSTILE = "<script>window.hurt = 1</script>\u202e{{ 7 * 7 }}"


@pytest.fixture(scope="module")
async def publisher(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    return plane.client((await issue("console-ingress", "ingress"))["key"])


@pytest.fixture
async def box(admin: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    key = f"k{secrets.token_hex(6)}"
    routes = [{"kind": "tenant", "key": key}, {"kind": "tenant", "key": f"{key}-other"}]
    made = await admin.post("/api/sandboxes", json={"template": "empty", "routes": routes})
    assert made.status_code == 201, made.text
    yield made.json()
    await admin.delete(f"/api/sandboxes/{made.json()['id']}")


def key_of(box: dict[str, Any]) -> str:
    return min((each["key"] for each in box["routes"]), key=len)


def hidden(page: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
    return {name: unescape(value) for name, value in found}


async def publish(publisher: httpx.AsyncClient, key: str, numbers: range, data: Any = None) -> None:
    events = [
        {"source": "tenant", "key": key, "type": "invoice.paid", "id": f"{key}-{n}", "data": data or {"number": n}}
        for n in numbers
    ]
    answer = await publisher.post("/api/events", json={"events": events})
    assert answer.status_code == 200, answer.text


def nested(depth: int) -> Any:
    deep: Any = HOSTILE
    for _ in range(depth):
        deep = [deep]
    return deep


async def test_the_newest_events_are_shown_and_what_was_not_read(
    chief: httpx.AsyncClient, publisher: httpx.AsyncClient, box: dict[str, Any]
) -> None:
    at = f"/console/sandboxes/{box['id']}"
    assert "No event came yet" in (await chief.get(at)).text
    await publish(publisher, key_of(box), range(2))
    few = (await chief.get(at)).text
    section = few[few.index("Newest live events") :]
    assert section.index("number&#34;:1") < section.index("number&#34;:0")
    assert section.count('<span class="badge wait">no</span>') == 2
    assert f"valhalla sandbox events {box['name']} --follow" in few
    assert "2</span> of" in few  # the quota is beside it
    # of more than are shown these are the newest
    await publish(publisher, key_of(box), range(2, 300))
    many = (await chief.get(at)).text
    shown = [int(n) for n in re.findall(r"number&#34;:(\d+)", many)]
    assert shown[0] == 299
    assert shown == sorted(shown, reverse=True)
    assert len(shown) <= 50


async def test_what_an_event_holds_is_cut_and_stays_text(
    chief: httpx.AsyncClient, publisher: httpx.AsyncClient, box: dict[str, Any]
) -> None:
    await publish(publisher, key_of(box), range(1), {"text": HOSTILE + "x" * 100_000})
    await publish(publisher, key_of(box), range(1, 2), {"deep": nested(100)})
    page = await chief.get(f"/console/sandboxes/{box['id']}")
    assert page.status_code == 200
    assert "<script>window" not in page.text
    assert page.text.count("&lt;script&gt;window") >= 1
    assert "x" * 2000 not in page.text


async def test_an_event_that_cannot_be_read_leaves_the_rest_of_the_page(
    chief: httpx.AsyncClient, publisher: httpx.AsyncClient, box: dict[str, Any]
) -> None:
    await publish(publisher, key_of(box), range(1), {"deep": nested(900)})
    page = await chief.get(f"/console/sandboxes/{box['id']}")
    assert page.status_code == 200
    for title in ("Routes", "Newest live events", "Dead letters", "Ledger"):
        assert f"<h2>{title}</h2>" in page.text


async def test_a_route_is_released_after_a_look(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient, box: dict[str, Any]
) -> None:
    page = (await chief.get(f"/console/sandboxes/{box['id']}")).text
    links = re.findall(r'href="(/console/all/sandboxes/unlink\?[^"]+)"', page)
    assert len(links) == 3  # one each, and one for both
    where = unescape(next(link for link in links if f"tenant%2F{key_of(box)}" == unescape(link).rpartition("only=")[2]))
    asked = (await chief.get(where)).text
    assert "1 routes" in asked
    assert f"valhalla sandbox unlink {box['id']} tenant:{key_of(box)}" in unescape(asked)
    done = await chief.post(where, data={**hidden(asked), "unread": "return"})
    assert "Done for 1 of 1" in done.text, done.text
    left = (await admin.get(f"/api/sandboxes/{box['id']}/routes")).json()
    assert [each["key"] for each in left] == [f"{key_of(box)}-other"]


async def test_a_target_that_is_none_is_refused(chief: httpx.AsyncClient, box: dict[str, Any]) -> None:
    where = f"/console/all/sandboxes/unlink?key={box['id']}"
    form = hidden((await chief.get(where)).text)
    for token in ("tenant", "tenant/a/b", "../../reset"):
        targets = form["_targets"].replace(f"tenant/{key_of(box)}", token)
        answer = await chief.post(where, data={**form, "_targets": targets})
        assert answer.status_code == 422, (token, answer.text)
    assert (await chief.get("/console/all/sandboxes/unlink")).status_code == 404


async def test_a_dead_letter_is_shown_and_replayed(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient, plane: Plane, box: dict[str, Any]
) -> None:
    at = f"/api/sandboxes/{box['id']}/events/dead"
    link, _ = await plane.runtime.routing.reader._claims.connected()  # pyright: ignore[reportPrivateUsage]
    tail = subjects.lane(box["id"]).removeprefix(f"{subjects.LANES}.")
    for n in range(2):
        headers = {"ce-id": f"d{n}", "content-type": "application/json", envelope.REASON: HOSTILE}
        await link.store(f"{subjects.DEAD}.{tail}.tenant.{key_of(box)}.paid", b'{"n":1}', headers=headers)
    letters = (await admin.get(at)).json()["items"]
    assert len(letters) == 2, (DEAD_STREAM, letters)
    page = (await chief.get(f"/console/sandboxes/{box['id']}")).text
    assert "<script>window" not in page
    links = [unescape(each) for each in re.findall(r'href="(/console/all/sandboxes/replay\?[^"]+)"', page)]
    where = next(each for each in links if each.endswith(f"only={letters[0]['number']}"))
    asked = (await chief.get(where)).text
    assert f"valhalla sandbox dead {box['id']} --replay={letters[0]['number']}" in asked
    done = await chief.post(where, data=hidden(asked))
    assert "Done for 1 of 1" in done.text, done.text
    assert [one["number"] for one in (await admin.get(at)).json()["items"]] == [letters[1]["number"]]
    again = await chief.post(where, data=hidden(asked))
    assert "Done for 0 of 1" in again.text


async def test_who_only_reads_sees_no_buttons_and_no_other_slices(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, box: dict[str, Any]
) -> None:
    reader = (await issue("admin", "sandbox:read"))["key"]
    plain = await admin.post("/api/sandboxes", json={"template": "empty", "slices": ["postgres"]})
    assert plain.status_code == 201, plain.text
    try:
        async with browser(plane) as client:
            await sign_in(client, reader)
            page = (await client.get(f"/console/sandboxes/{box['id']}")).text
            assert "Newest live events" in page
            assert "/console/all/sandboxes/unlink" not in page
            assert (await client.get(f"/console/all/sandboxes/unlink?key={box['id']}")).status_code == 404
            without = (await client.get(f"/console/sandboxes/{plain.json()['id']}")).text
            assert "Newest live events" not in without
            assert "Dead letters" not in without
    finally:
        await admin.delete(f"/api/sandboxes/{plain.json()['id']}")


async def test_a_route_is_made_with_its_own_id(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient, box: dict[str, Any]
) -> None:
    where = f"/console/do/sandboxes/link?key={box['id']}"
    page = (await chief.get(where)).text
    found = FORM.search(page)
    assert found is not None
    # the sandbox's id is in the address, and not what is asked for
    assert re.search(r'name="id" value=""', page)
    key = f"k{secrets.token_hex(6)}"
    done = await chief.post(where, data={"_form": unescape(found[1]), "kind": "tenant", "id": key})
    assert done.status_code == 303, done.text
    assert key in (await admin.get(f"/api/sandboxes/{box['id']}/routes")).text


async def test_an_action_says_its_command(chief: httpx.AsyncClient, box: dict[str, Any]) -> None:
    page = (await chief.get(f"/console/do/sandboxes/extend?key={box['id']}")).text
    assert f"valhalla sandbox extend {box['id']} 1h" in page


async def test_sandboxes_are_found_by_the_beginning_of_their_names(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient, box: dict[str, Any]
) -> None:
    other = await admin.post("/api/sandboxes", json={"template": "empty", "name": f"seek-{secrets.token_hex(4)}"})
    try:
        for begin, wanted in (("seek-", 1), ("eek-", 0), ("seek%", 0), ("seek_", 0)):
            found = (await admin.get("/api/sandboxes", params={"name": begin})).json()
            assert (len(found["items"]), found["total"]) == (wanted, wanted), begin
        page = (await chief.get("/console/sandboxes?name=seek-")).text
        assert other.json()["name"] in page
        assert box["name"] not in page
        assert (await admin.get("/api/sandboxes", params={"name": "\0"})).status_code == 422
    finally:
        await admin.delete(f"/api/sandboxes/{other.json()['id']}")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("desk", [{}, PHONE], ids=["desk", "phone-dark"], indirect=True)
async def test_a_route_is_released_in_a_browser(
    desk: Desk, admin: httpx.AsyncClient, publisher: httpx.AsyncClient, box: dict[str, Any]
) -> None:
    await publish(publisher, key_of(box), range(3), {"text": f"<img src=x onerror='window.hurt = 1'>{HOSTILE}"})
    await desk.open(f"sandboxes/{box['id']}")
    assert await desk.page.locator("section:has(h2:text-is('Newest live events')) tbody tr").count() == 3
    assert await desk.too_wide() <= 0
    assert await desk.grave() == []
    await desk.page.click(f"section:has(h2:text-is('Routes')) tr:has-text('{key_of(box)}-other') a:has-text('Unlink')")
    await desk.page.wait_for_selector("h1:has-text('Unlink: 1 that match')")
    assert await desk.grave() == []
    await desk.page.click("button:has-text('Unlink: 1')")
    await desk.page.wait_for_selector("text=Done for 1 of 1")
    await desk.page.click("a:text-is('Back')")
    await desk.page.wait_for_selector("h2:text-is('Newest live events')")
    assert await desk.page.evaluate("window.hurt") is None
    left = (await admin.get(f"/api/sandboxes/{box['id']}/routes")).json()
    assert [each["key"] for each in left] == [key_of(box)]


def test_both_clients_and_the_cli_ask_for_the_beginning_of_a_name() -> None:
    assert calls.list_sandboxes(name="seek-").params == {"name": "seek-"}
    for client in (Client, AsyncClient):
        for method in (client.list, client.iterate):
            assert "name" in inspect.signature(method).parameters
    assert "--name" in {option for each in ls.command.params for option in each.opts}


class Lane:
    """Answers as the API does, oldest first, and counts how often it was asked."""

    def __init__(self, instants: list[datetime]) -> None:
        self._items = [
            {"sequence": n, "stored_at": at.isoformat().replace("+00:00", "Z")} for n, at in enumerate(instants, 1)
        ]
        self.asked = 0

    async def get(self, path: str, query: dict[str, Any]) -> Any:
        self.asked += 1
        after, since = query.get("after", 0), query.get("since", "")
        items = [one for one in self._items if one["sequence"] > after and one["stored_at"] >= since][: query["limit"]]
        following = items[-1]["sequence"] if items else after
        return {"items": items, "next": following, "lag": {"waiting": 3, "unacknowledged": 2, "redelivered": 0}}


@pytest.mark.parametrize(
    "ago",
    [
        [n * 60.0 for n in range(5000, 0, -1)],  # one a minute
        [86_400.0 * 7] * 4000 + [n / 10 for n in range(300, 0, -1)],  # long ago, and a burst now
        [3600.0 - n * 0.01 for n in range(9000)],  # an hour ago, quickly
    ],
    ids=["steady", "late", "early"],
)
async def test_the_newest_of_a_long_lane_are_found_with_few_questions(ago: list[float]) -> None:
    now = datetime.now(UTC)
    lane = Lane([now - timedelta(seconds=each) for each in ago])
    found = await lanes.newest(cast(Any, lane), "/lane", 50)
    assert found.certain
    assert found.more
    sequences = [one["sequence"] for one in found.items]
    assert sequences == list(range(len(ago), len(ago) - len(sequences), -1))
    assert 10 <= len(sequences) <= 50
    assert [one["read"] for one in found.items[:6]] == ["no", "no", "no", "taken", "taken", "yes"]
    assert lane.asked <= 20


async def test_what_came_in_one_moment_is_not_called_the_newest() -> None:
    lane = Lane([datetime.now(UTC) - timedelta(hours=1)] * 2000)
    found = await lanes.newest(cast(Any, lane), "/lane", 50)
    assert not found.certain
    assert len(found.items) == 50
    assert lane.asked <= 20
