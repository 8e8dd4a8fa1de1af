"""Notifications over HTTP, and on their way to real receivers."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from tests.features.notifications.receiver import Receiver, receiving, status
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

NOTIFY = "/system/notify"
CHANNELS = f"{NOTIFY}/channels"
RULES = f"{NOTIFY}/rules"
TEMPLATES = f"{NOTIFY}/templates"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Make = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Somebody who listens."""
    async with receiving() as found:
        yield found


@pytest.fixture
async def make(admin: httpx.AsyncClient) -> AsyncIterator[Make]:
    """Make records that end with the test."""
    made: list[str] = []

    async def create(prefix: str, name: str, **members: Any) -> dict[str, Any]:
        answer = await admin.post(prefix, json={"name": name, **members})
        assert answer.status_code == 201, answer.text
        made.append(f"{prefix}/{name}")
        return answer.json()

    yield create
    for path in reversed(made):
        assert (await admin.delete(path)).status_code in (204, 404)


@pytest.fixture
async def hook(make: Make, receiver: Receiver) -> str:
    """A channel to the receiver."""
    await make(CHANNELS, "n-hook", kind="webhook", webhook={"url": receiver.url, "secret": SECRET})
    return "n-hook"


async def settled(admin: httpx.AsyncClient, delivery: str, *wanted: str, seconds: float = 20) -> dict[str, Any]:
    """Wait until a delivery is as wanted."""
    async with asyncio.timeout(seconds):
        while True:
            found = (await admin.get(f"{NOTIFY}/deliveries/{delivery}")).json()
            if found["status"] in wanted:
                return found
            await asyncio.sleep(0.02)


async def test_a_message_arrives_signed_as_the_official_library_wants_it(
    admin: httpx.AsyncClient, receiver: Receiver, hook: str
) -> None:
    body = {"channel": hook, "subject": "Done", "body": "It is", "data": {"rows": 7, "password": "hunter2"}}
    sent = await admin.post(NOTIFY, json=body)

    assert sent.status_code == 202
    [got] = await receiver.wait(1)
    assert got.id == sent.json()["id"]
    payload: Any = Webhook(SECRET).verify(got.body, got.headers)
    assert payload["type"] == "notification.message"
    assert payload["data"] == {"title": "Done", "body": "It is", "rows": 7, "password": "***"}
    found = await settled(admin, got.id, "delivered")
    assert found["attempts"] == 1
    [attempt] = found["tries"]
    assert (attempt["number"], attempt["outcome"], attempt["status"]) == (1, "delivered", 204)
    assert sent.headers["location"].endswith(got.id)


async def test_secrets_go_in_and_never_out(admin: httpx.AsyncClient, make: Make) -> None:
    webhook = {
        "url": "http://127.0.0.1:9/path-secret?token=t0psecret",
        "secret": SECRET,
        "headers": {"Authorization": "Bearer s3cr3t"},
    }
    shown = await make(CHANNELS, "n-secret", kind="webhook", webhook=webhook)

    await admin.patch(f"{CHANNELS}/n-secret", json={"description": "other"})
    pages = [await admin.get(path) for path in (CHANNELS, f"{CHANNELS}/n-secret", f"{CHANNELS}/n-secret/history")]
    pages.append(await admin.get("/system/audit?limit=20"))
    for page in pages:
        assert page.status_code == 200
        assert not any(word in page.text for word in ("s3cr3t", "t0psecret", "path-secret", SECRET[6:]))
        # not even sealed
        assert re.search(r'sealed_secrets":\s*"[^*]', page.text) is None
    assert shown["webhook"]["url"] == "http://127.0.0.1:9/***"
    assert shown["webhook"]["headers"] == {"Authorization": "***"}

    again = (await admin.get(f"{CHANNELS}/n-secret")).json()
    same = await admin.put(f"{CHANNELS}/n-secret", json={k: again[k] for k in ("kind", "webhook", "description")})
    assert same.status_code == 200, same.text
    assert same.json()["version"] == again["version"]


async def test_what_cannot_be_meant_is_refused_where_it_stands(admin: httpx.AsyncClient, make: Make) -> None:
    webhook = {"kind": "webhook", "webhook": {"url": "https://example.com/a"}}
    mail = {"host": "mail.example", "sender": "a@example.com", "recipients": ["b@example.com"]}
    for members, pointer in (
        ({"kind": "webhook", "webhook": {"url": "http://169.254.169.254/latest"}}, "/webhook/url"),
        ({"kind": "webhook", "webhook": {"url": "http://u:p@example.com/"}}, "/webhook/url"),
        ({"kind": "webhook", "webhook": {"url": "file:///etc/passwd"}}, "/webhook/url"),
        ({"kind": "webhook", "webhook": {**webhook["webhook"], "secret": "whsec_c2hvcnQ="}}, "/webhook/secret"),
        ({"kind": "webhook", "webhook": {**webhook["webhook"], "headers": {"Host": "x"}}}, "/webhook/headers"),
        ({"kind": "webhook", "webhook": {**webhook["webhook"], "headers": {"X-A": "a\r\nb: c"}}}, "/webhook/headers"),
        ({"kind": "pigeon"}, "/kind"),
        ({"kind": "email", "webhook": webhook["webhook"]}, "/email"),
        (
            {"kind": "email", "email": {**mail, "recipients": ["a@b.example\r\nBcc: c@d.example"]}},
            "/email/recipients/0",
        ),
        ({"kind": "email", "email": {**mail, "sender": "a b"}}, "/email/sender"),
        ({**webhook, "fallback": "nobody"}, "/fallback"),
        ({**webhook, "template": "nothing"}, "/template"),
        ({**webhook, "timeout": -5}, "/timeout"),
    ):
        answer = await admin.post(CHANNELS, json={"name": "n-bad", **members})
        assert answer.status_code == 422, (members, answer.text)
        assert answer.json()["errors"][0]["pointer"] == pointer, (members, answer.text)

    await make(CHANNELS, "n-good", **webhook)
    for members, pointer in (
        ({"channels": ["pigeon"]}, "/channels/0"),
        ({"channels": ["n-good"], "quiet": {"start": "25:00", "end": "07:00"}}, "/quiet/start"),
        ({"channels": ["n-good"], "quiet": {"start": "22:00", "end": "07:00", "zone": "Mars/Olympus"}}, "/quiet/zone"),
        ({"channels": ["n-good"], "rate": "-5/day"}, "/rate"),
        ({"channels": ["n-good"], "digest": {}}, "/digest"),
        ({"channels": ["n-good"], "group_by": ["name"]}, "/group_wait"),
    ):
        answer = await admin.post(RULES, json={"name": "n-bad", **members})
        assert answer.status_code == 422, (members, answer.text)
        assert answer.json()["errors"][0]["pointer"] == pointer, (members, answer.text)


async def test_channels_that_do_not_take_messages(admin: httpx.AsyncClient, make: Make, hook: str) -> None:
    refused(
        await admin.post(NOTIFY, json={"channel": "n-nobody", "subject": "x"}), 404, "notification-channel-not-found"
    )
    await make(RULES, "n-rule", channels=[hook], events=["nothing.ever"])
    problem = refused(await admin.delete(f"{CHANNELS}/{hook}"), 409, "notification-channel-in-use")
    assert problem["named_by"] == ["rule n-rule"]
    await admin.patch(f"{CHANNELS}/{hook}", json={"enabled": False})
    refused(await admin.post(NOTIFY, json={"channel": hook, "subject": "x"}), 409, "notification-channel-disabled")
    refused(await admin.get(f"{NOTIFY}/deliveries/none"), 404, "notification-delivery-not-found")


async def test_a_key_sends_once(admin: httpx.AsyncClient, receiver: Receiver, hook: str) -> None:
    body = {"channel": hook, "subject": "once", "key": "order-7"}
    first, second = [(await admin.post(NOTIFY, json=body)).json()["id"] for _ in range(2)]

    assert first == second
    await receiver.wait(1)
    await settled(admin, first, "delivered")
    assert [got.id for got in receiver.got] == [first]


async def test_an_event_is_told_by_the_rules_once(
    plane: Plane, admin: httpx.AsyncClient, receiver: Receiver, hook: str, make: Make
) -> None:
    await make(RULES, "n-a", channels=[hook], events=["alert.*"], minimum="error", where={"name": "n.test"})
    for severity in ("warning", "error"):
        alert = {"name": "n.test", "severity": severity, "title": f"It is {severity}", "labels": {"s": severity}}
        assert (await admin.post("/system/alerts", json=alert)).status_code in (200, 201, 202)

    [got] = await receiver.wait(1)
    assert got.payload["type"] == "alert.opened"
    assert got.payload["data"]["title"] == "It is error"
    routed = (await admin.post(f"{RULES}/test", json={"type": "alert.opened", "data": {"name": "n.test"}})).json()
    assert routed["items"] == []
    body = {"type": "alert.opened", "severity": "critical", "data": {"name": "n.test"}}
    routed = (await admin.post(f"{RULES}/test", json=body)).json()
    assert [(each["channel"], each["rule"]) for each in routed["items"]] == [(hook, "n-a")]
    listed = (await admin.get(f"{NOTIFY}/deliveries", params={"rule": "n-a"})).json()["items"]
    assert [each["type"] for each in listed] == ["alert.opened"]


async def test_subscriptions_to_alerts_name_channels(admin: httpx.AsyncClient, receiver: Receiver, hook: str) -> None:
    subscription = {"key": "n-sub", "pattern": "n.subscribed", "minimum": "error", "target": hook}
    assert (await admin.post("/system/alerts/subscriptions", json=subscription)).status_code == 201
    try:
        alert = {"name": "n.subscribed", "severity": "critical", "title": "For those who asked"}
        await admin.post("/system/alerts", json=alert)
        [got] = await receiver.wait(1)
        assert got.payload["data"]["title"] == "For those who asked"
        refused(await admin.delete(f"{CHANNELS}/{hook}"), 409, "notification-channel-in-use")
    finally:
        await admin.delete("/system/alerts/subscriptions/n-sub")


async def test_what_is_sent_is_counted_without_names(
    plane: Plane, admin: httpx.AsyncClient, receiver: Receiver, hook: str
) -> None:
    sent = (await admin.post(NOTIFY, json={"channel": hook, "subject": "counted"})).json()["id"]
    await settled(admin, sent, "delivered")
    text = (await admin.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("valhalla_notification")]
    assert any(
        line.startswith('valhalla_notification_attempts_total{kind="webhook",outcome="delivered"}') for line in lines
    )
    assert "valhalla_notification_leading 1.0" in lines
    assert not any(hook in line for line in lines)
    fares = {each["channel"]: each for each in (await admin.get(NOTIFY)).json()["items"]}
    assert (fares[hook]["failures"], fares[hook]["pending"]) == (0, 0)


async def test_dead_ones_are_replayed_one_by_one_and_by_filter(
    admin: httpx.AsyncClient, receiver: Receiver, make: Make
) -> None:
    webhook = {"url": receiver.url, "secret": SECRET}
    await make(CHANNELS, "n-dead", kind="webhook", attempts=1, webhook=webhook)
    receiver.answers = [status(500, body=b"<b>no</b>"), status(400), status(400)]
    ids = [(await admin.post(NOTIFY, json={"channel": "n-dead", "subject": f"m{n}"})).json()["id"] for n in range(3)]
    for each in ids:
        found = await settled(admin, each, "dead")
    first = (await admin.get(f"{NOTIFY}/deliveries/{ids[0]}")).json()
    assert (first["error"], first["tries"][0]["excerpt"]) == ("HTTP 500", "<b>no</b>")
    assert found["tries"][0]["outcome"] == "refused"

    again = await admin.post(f"{NOTIFY}/deliveries/{ids[1]}/replay")
    assert again.status_code == 202
    found = await settled(admin, ids[1], "delivered")
    assert [each["outcome"] for each in found["tries"]] == ["refused", "delivered"]
    refused(await admin.post(f"{NOTIFY}/deliveries/{ids[1]}/replay"), 409, "illegal-transition")

    body = {"channel": "n-dead"}
    dry = (await admin.post(f"{NOTIFY}/deliveries/replay?dry_run=true", json=body)).json()
    assert dry == {"matched": 2, "replayed": 0, "ids": [ids[0], ids[2]], "dry_run": True}
    done = (await admin.post(f"{NOTIFY}/deliveries/replay", json=body)).json()
    assert done["replayed"] == 2
    for each in (ids[0], ids[2]):
        await settled(admin, each, "delivered")
    assert [got.id for got in receiver.got] == [*ids, ids[1], ids[0], ids[2]]


async def test_a_channel_is_tested_and_its_keys_are_changed(
    admin: httpx.AsyncClient, receiver: Receiver, make: Make
) -> None:
    webhook = {"url": receiver.url, "secret": SECRET, "signatures": ["v1", "v1a"]}
    await make(CHANNELS, "n-keys", kind="webhook", webhook=webhook)

    assert (await admin.post(f"{CHANNELS}/n-keys/test")).json()["delivered"] is True
    new = (await admin.post(f"{CHANNELS}/n-keys/secret")).json()["secret"]
    await admin.post(f"{CHANNELS}/n-keys/test")
    got = receiver.got[-1]
    for secret in (SECRET, new):
        assert Webhook(secret).verify(got.body, got.headers)
    keys = (await admin.get(f"{CHANNELS}/n-keys/keys")).json()
    assert (keys["signatures"], keys["secrets"]) == (["v1", "v1a"], 2)
    _verify_v1a(keys["public_key"], got.headers, got.body)
    receiver.usual = status(302, "Location: http://169.254.169.254/")
    said = (await admin.post(f"{CHANNELS}/n-keys/test")).json()
    assert (said["delivered"], said["status"], said["error"]) == (False, 302, "HTTP 302: redirects are not followed")


def _verify_v1a(public: str, headers: dict[str, str], body: bytes) -> None:
    from nacl.signing import VerifyKey

    [signature] = [each for each in headers["webhook-signature"].split() if each.startswith("v1a,")]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    VerifyKey(base64.b64decode(public.removeprefix("whpk_"))).verify(signed, base64.b64decode(signature[4:]))


async def test_who_may_what(plane: Plane, issue: Issue) -> None:
    viewer = plane.client((await issue("n-viewer", role="viewer"))["key"])
    assert (await viewer.get(NOTIFY)).status_code == 200
    assert (await viewer.get(CHANNELS)).status_code == 200
    refused(await viewer.post(NOTIFY, json={"channel": "x", "subject": "x"}), 403, "forbidden")
    refused(await viewer.post(CHANNELS, json={"name": "x", "kind": "apprise", "apprise": {"urls": ["a://b"]}}), 403,
            "forbidden")  # fmt: skip
    refused(await viewer.post(f"{NOTIFY}/deliveries/replay"), 403, "forbidden")
