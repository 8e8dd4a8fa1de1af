"""What becomes of messages: order, retries, broken and hostile receivers, stand-ins, bundles, mail and chat."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from tests.features.notifications.conftest import Scene
from tests.features.notifications.receiver import Got, Receiver, receiving, status

from valhalla.features.data.notifications import Item
from valhalla.features.data.notifications.errors import BadChannel
from valhalla.kernel.principal import SYSTEM

pytestmark = pytest.mark.slow


async def test_a_channel_is_told_in_order_and_others_do_not_wait_for_it(scene: Scene, receiver: Receiver) -> None:
    async with receiving() as other:
        await scene.hook("ops", receiver)
        await scene.hook("more", other)
        # long enough for everything to be taken before the first failure is known
        receiver.answers = [status(503, "Retry-After: 1")]
        sent = [await scene.send("ops", f"m{n}") for n in range(30)]
        others = [await scene.send("more", f"m{n}") for n in range(30)]
        await other.wait(30)
        assert [got.id for got in other.got] == others
        assert {got.id for got in receiver.got} == {sent[0]}
        await receiver.wait(31)
        assert [got.id for got in receiver.got] == [sent[0], *sent]
        _, tries = await scene.until(sent[0], "delivered")
        assert [each.status for each in tries] == [503, 204]
        # Retry-After does not shorten what is specified
        assert tries[1].at - tries[0].at >= timedelta(seconds=5)


async def test_a_refused_message_does_not_hold_others_up(scene: Scene, receiver: Receiver) -> None:
    await scene.hook("ops", receiver)
    receiver.answers = [status(422, body=b"no such field")]
    first, second = [await scene.send("ops", f"m{n}") for n in range(2)]
    await scene.until(second, "delivered")
    found, tries = await scene.find(first)
    assert (found.status, tries[0].excerpt) == ("failed", "no such field")


async def test_several_at_once_when_order_does_not_matter(scene: Scene, receiver: Receiver) -> None:
    await scene.hook("ops", receiver, ordered=False, concurrency=8)
    bad = set[str]()

    def answer(got: Got) -> bytes:
        if not bad:
            bad.add(got.id)
        return status(500 if got.id in bad else 200)

    receiver.usual = answer
    sent = [await scene.send("ops", f"m{n}") for n in range(20)]
    for each in set(sent) - bad:
        await scene.until(each, "delivered")
    assert (await scene.find(bad.pop()))[0].status == "failed"


async def test_hostile_endpoints(scene: Scene, receiver: Receiver) -> None:
    await scene.hook("ops", receiver, timeout=0.3, ordered=False, attempts=1)
    cases: dict[str, Any] = {
        "hangs": (None, "dead", "no answer within 0.3 s"),
        "streams": (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"4\r\njunk\r\n" * 9999,
            "delivered",
            None,
        ),
        "redirects": (status(307, "Location: http://169.254.169.254/"), "dead", "redirects are not followed"),
        "speaks no http": (b"220 smtp\r\n\r\n", "dead", "no HTTP"),
        "garbage": (status(200, body=bytes(range(256)) * 10), "delivered", None),
    }
    for what, (answer, wanted, why) in cases.items():
        receiver.answers = [answer]
        found, tries = await scene.until(await scene.send("ops", what), "dead", "delivered")
        assert found.status == wanted, what
        assert why is None or why in (found.error or ""), (what, found.error)
        assert len(tries[0].excerpt or "") <= 520


async def test_gone_disables_the_channel_and_loses_nothing(scene: Scene, receiver: Receiver) -> None:
    async with receiving() as other:
        await scene.hook("spare", other)
        await scene.hook("ops", receiver, fallback="spare")
        receiver.answers = [status(410)]
        sent = [await scene.send("ops", f"m{n}") for n in range(3)]
        await other.wait(3)
        assert [got.payload["data"]["title"] for got in other.got[:3]] == ["m0", "m1", "m2"]
        await scene.feed.refresh()
        channel = scene.feature.policy.channel("ops")
        assert channel is not None
        assert channel.enabled is False
        assert ("delivery.failed", "ops") in [(kind, data["channel"]) for kind, data in await scene.told()]
        assert {(await scene.find(each))[0].status for each in sent} == {"failed", "pending"}
        await scene.hook("ops", receiver, fallback="spare", enabled=True)
        await scene.feature.channels.resume(SYSTEM, "ops")
        for each in sent:
            await scene.until(each, "delivered")
        assert [kind for kind, _ in await scene.told()] == ["delivery.failed", "delivery.recovered"]


async def test_who_fails_is_stood_in_for_and_told_of_once(scene: Scene, receiver: Receiver) -> None:
    async with receiving() as other:
        await scene.hook("spare", other)
        await scene.hook("ops", receiver, fallback="spare", ordered=False)
        await scene.rule("watch", "ops", events=("delivery.*",))
        receiver.usual = status(500)
        sent = [await scene.send("ops", f"m{n}") for n in range(5)]
        await other.wait(5)
        titles = {got.payload["data"]["title"] for got in other.got}
        assert titles == {f"m{n}" for n in range(5)}
        told = [data for kind, data in await scene.told() if kind == "delivery.failed"]
        assert [each["channel"] for each in told] == ["ops"]
        # and that news goes to the stand-in, not to who fails
        await scene.happen("delivery.failed", channel="ops", error=told[0]["error"])
        await other.wait(6)
        assert other.got[5].payload["type"] == "delivery.failed"
        assert all(got.payload["type"] != "delivery.failed" for got in receiver.got)
        copies = [each for each in await scene.listed(channel="spare") if each.origin is not None]
        assert {each.origin for each in copies} == set(sent)


async def test_two_broken_channels_that_stand_in_for_each_other_come_to_rest(scene: Scene, receiver: Receiver) -> None:
    receiver.usual = status(500)
    await scene.hook("a", receiver, ordered=False)
    await scene.hook("b", receiver, ordered=False, fallback="a")
    await scene.hook("a", receiver, ordered=False, fallback="b")
    for n in range(4):
        await scene.send("a", f"m{n}")
    await asyncio.sleep(9)
    everything = await scene.listed()
    assert len(everything) == 8
    assert {each.path for each in everything} == {(), ("a",)}


async def test_bundles(scene: Scene, receiver: Receiver) -> None:
    await scene.hook("ops", receiver)
    await scene.rule("group", "ops", events=("a.*",), group_by=("region",), group_wait=3.0)
    await scene.rule("rate", "ops", events=("b.*",), rate="2/hour")
    for n in range(60):
        await scene.happen("a.failed", region="eu" if n % 2 else "us", title=f"a{n}")
    for n in range(5):
        await scene.happen("b.failed", title=f"b{n}")

    def grouped() -> list[Any]:
        return [got.payload["data"] for got in receiver.got if got.payload["type"] == "a.failed"]

    async with asyncio.timeout(30):
        while sum(each["count"] for each in grouped()) < 60:
            await asyncio.sleep(0.05)
    # a slow machine may need more than one window
    assert 2 <= len(grouped()) <= 20
    for each in grouped():
        assert len(each["items"]) == each["count"]
        assert len({item["data"]["region"] for item in each["items"]}) == 1
    rated = [got.payload["data"]["title"] for got in receiver.got if got.payload["type"] == "b.failed"]
    assert rated == ["b0", "b1"]
    [waiting] = await scene.listed(rule="rate", status="pending")
    assert (waiting.count, waiting.due_at > scene.clock.now() + timedelta(minutes=59)) == (3, True)


async def test_a_channel_has_a_pace_of_its_own_and_loses_nothing(scene: Scene, receiver: Receiver) -> None:
    await scene.hook("slow", receiver, rate="3/2 s")
    moments: list[float] = []

    def answer(_got: Got) -> bytes:
        moments.append(scene.clock.monotonic())
        return status(204)

    receiver.usual = answer
    sent = [await scene.send("slow", f"m{n}") for n in range(10)]
    await scene.until(sent[-1], "delivered", seconds=60)

    assert [got.id for got in receiver.got] == sent
    # one that is late makes the next one look early, by what a loop is late
    assert all(moments[n + 3] - moments[n] > 1.0 for n in range(7))
    assert moments[-1] - moments[0] >= 5.0
    with pytest.raises(BadChannel):
        await scene.hook("wrong", receiver, rate="a few")


async def test_alertmanagers_receivers_are_served(scene: Scene, receiver: Receiver) -> None:
    await scene.channel("am", kind="webhook", webhook={"url": receiver.url, "form": "alertmanager"})
    await scene.rule("am", "am")
    await scene.happen("alert.opened", name="job.dead", severity="error", labels={"name": "import"}, fingerprint="f")
    await scene.happen("alert.resolved", name="job.dead", severity="error", labels={"name": "import"}, fingerprint="f")
    await receiver.wait(2)
    assert [got.payload["status"] for got in receiver.got] == ["firing", "resolved"]
    assert receiver.got[0].payload["alerts"][0]["labels"]["alertname"] == "job.dead"


class _Mailbox:
    """What a mail server took; it refuses one address."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], bytes]] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address == "nobody@example.com":
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.taken.append((list(envelope.rcpt_tos), envelope.content))
        return "250 taken"


async def test_mail_arrives_once_per_message_and_nobody_adds_a_header(scene: Scene) -> None:
    box = _Mailbox()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box), "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        email = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "Valhalla <v@example.com>",
                 "recipients": ["ops@example.com", "b@example.com"]}  # fmt: skip
        await scene.template(
            "short", "{{ event.title }}!", subject="{{ title }}\r\nBcc: x@y.example", html="<b>{{ title }}</b>"
        )
        await scene.channel("mail", kind="email", email=email)
        await scene.channel("pretty", kind="email", email=email, template="short")
        await scene.channel("refused", kind="email", email={**email, "recipients": ["nobody@example.com"]})
        title = "Broken\r\nBcc: thief@example.com\r\n\r\n<script>"
        first = await scene.send("mail", title)
        await scene.until(first, "delivered")
        second = await scene.send("pretty", title)
        await scene.until(second, "delivered")
        found, tries = await scene.until(await scene.send("refused", "x"), "failed")
    finally:
        server.close()
    assert (tries[0].outcome, tries[0].status) == ("refused", 550)
    assert found.error == "the mail server refuses every recipient"
    plain, pretty = [message_from_bytes(content, policy=default) for _, content in box.taken]
    assert plain["Bcc"] is None
    assert plain["Subject"].startswith("[ERROR] Broken Bcc: thief@example.com")
    assert plain["Message-ID"] == f"<{first}@example.com>"
    assert box.taken[0][0] == ["ops@example.com", "b@example.com"]
    assert pretty["Bcc"] is None
    assert pretty["Subject"].startswith("Broken")
    html: Any = pretty.get_body(("html",))
    assert "&lt;script&gt;" in html.get_content()


async def test_chat_goes_where_it_may_and_nowhere_else(scene: Scene, receiver: Receiver) -> None:
    where = f"json://127.0.0.1:{receiver.port}/hook"
    await scene.channel("chat", kind="apprise", apprise={"urls": [where]}, attempts=1)
    sent = await scene.send("chat", "Broken")
    await scene.until(sent, "delivered")
    assert receiver.got[0].payload["title"] == "[ERROR] Broken"
    await scene.channel("inside", kind="apprise", apprise={"urls": ["json://10.0.0.1/x"]}, attempts=1)
    found, _ = await scene.until(await scene.send("inside", "Broken"), "dead")
    assert found.error == "the target's address is private and no setting allows it"


async def test_a_template_that_never_ends_costs_a_second_and_no_message(scene: Scene, receiver: Receiver) -> None:
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    for name, body in (("loops", loops), ("fills", "{{ 'x' * 10 ** 10 }}"), ("grows", "{{ range(99999) | list }}" * 9)):
        await scene.template(name, body)
        await scene.channel(name, kind="webhook", template=name, webhook={"url": receiver.url, "form": "template"})
        sent = await scene.send(name, "It broke")
        await scene.until(sent, "delivered")
        assert receiver.got[-1].payload["data"]["title"] == "It broke"
    await scene.template("fine", '{"text": {{ title | tojson }}}')
    await scene.channel("fine", kind="webhook", template="fine", webhook={"url": receiver.url, "form": "template"})
    await scene.until(await scene.send("fine", 'a "b"'), "delivered")
    assert receiver.got[-1].payload == {"text": 'a "b"'}


async def test_the_transaction_of_the_cause_decides(scene: Scene, receiver: Receiver) -> None:
    await scene.hook("ops", receiver)
    item = Item("a.b", datetime.now(UTC), "info", "never")

    def fails(conn: Any) -> None:
        scene.service.notify(conn, "ops", item, actor="test")
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await scene.db.run(fails)
    await scene.until(await scene.send("ops", "after"), "delivered")
    assert [got.payload["data"]["title"] for got in receiver.got] == ["after"]


async def test_quiet_hours_hold_what_is_not_grave_and_let_the_rest_pass(scene: Scene, receiver: Receiver) -> None:
    from valhalla.features.data.notifications.contracts import Quiet

    now = scene.clock.now()
    start, end = f"{now - timedelta(hours=1):%H:%M}", f"{now + timedelta(hours=2):%H:%M}"
    await scene.hook("ops", receiver)
    await scene.rule("night", "ops", quiet=Quiet(start, end))
    await scene.happen("alert.opened", name="a", severity="error", title="held")
    await scene.happen("alert.opened", name="b", severity="error", title="held, too")
    await scene.happen("alert.opened", name="c", severity="critical", title="loud")
    await receiver.wait(1)
    assert receiver.got[0].payload["data"]["title"] == "loud"
    [held] = await scene.listed(status="pending")
    assert held.count == 2


async def test_messages_for_channels_that_are_no_more_can_be_replayed(scene: Scene, receiver: Receiver) -> None:
    await scene.hook("ops", receiver, enabled=True)
    receiver.usual = status(500)
    sent = await scene.send("ops", "m")
    await scene.until(sent, "failed")
    await scene.db.run(lambda conn: scene.feature.policy.channels.delete(conn, "ops", actor="test"))
    await scene.feed.refresh()
    found, _ = await scene.until(sent, "dead")
    assert found.error == "there is no such channel"
    receiver.usual = status(200)
    await scene.hook("ops", receiver)
    await scene.service.replay(SYSTEM, sent)
    await scene.until(sent, "delivered")
