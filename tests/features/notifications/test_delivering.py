"""When and in which order messages are delivered: one by one, bundled, at a pace, not at night."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.features.notifications.conftest import Scene
from tests.features.notifications.receiver import Got, Receiver, receiving, status

from valhalla.features.data.notifications import Item
from valhalla.features.data.notifications.errors import BadChannel

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
