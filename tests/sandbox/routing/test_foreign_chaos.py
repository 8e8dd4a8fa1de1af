"""Keys of a publisher that knows nothing change hands under load: every event is somewhere once, on its side."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from tests.sandbox.plane import Team
from tests.sandbox.routing.test_chaos import SEED, Span
from tests.sandbox.routing.test_foreign_plane import Shop, shop

from valhalla.runtime import Runtime
from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.foreign import accounts, hop_stream
from valhalla.sandbox.routing.link import Link

__all__ = ["shop"]

KEYS = 24
EVENTS = 12_000
FLIPS = 80
WINDOW = 200


@dataclass
class Sent:
    """When each event was made and answered, by key and number; instants in nanoseconds."""

    made: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    answered: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    refused: list[bytes] = field(default_factory=list[bytes])
    over: bool = False


async def load(link: Link, name: str, sent: Sent, until: asyncio.Event) -> None:
    """Publish as a JetStream client with a window: at least ``EVENTS``, and until the flips are over."""
    inbox, waiting, number = f"{link.inbox}.a.", dict[str, tuple[str, int]](), 0

    def answered(subject: str, _reply: str | None, block: bytes | None, body: bytes) -> None:
        # of an event that is answered twice there are two
        event = waiting.pop(subject)
        sent.answered[event] = time.monotonic_ns()
        if block is not None or b'"error"' in body:
            sent.refused.append(body)

    link.subscribe(f"{inbox}*", answered)
    while number < EVENTS or not until.is_set():
        while len(waiting) >= WINDOW:
            await asyncio.sleep(0.001)
        for _ in range(20):
            event = f"k{number % KEYS}", number // KEYS
            reply = f"{inbox}{number}"
            waiting[reply], sent.made[event] = event, time.monotonic_ns()
            link.publish(f"{name}.{event[0]}.made", json.dumps({"n": event[1]}).encode(), reply=reply)
            number += 1
        await asyncio.sleep(0.003)
    async with asyncio.timeout(10):
        while waiting:
            await asyncio.sleep(0.01)


async def everything(link: Link, stream: str, wanted: str) -> list[tuple[str, int]]:
    """Return subject and number of each message under a filter, in order."""
    found: list[tuple[str, int]] = []
    whole, inbox = asyncio.Event(), f"{link.inbox}.e.{stream}"

    def heard(subject: str, reply: str | None, _block: bytes | None, body: bytes) -> None:
        assert reply is not None
        found.append((subject, json.loads(body)["n"]))
        if reply.split(".")[8] == "0":
            whole.set()

    link.subscribe(inbox, heard)
    config = {"deliver_subject": inbox, "filter_subject": wanted, "ack_policy": "none", "name": f"all{time.time_ns()}"}
    answer = await link.api(
        f"CONSUMER.CREATE.{stream}.{config['name']}", {"stream_name": stream, "config": config, "action": "create"}
    )
    if answer["num_pending"]:
        async with asyncio.timeout(60):
            await whole.wait()
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_no_event_is_lost_doubled_or_on_the_wrong_side(
    runtime: Runtime, team: Team, stranger: Team, shop: Shop
) -> None:
    """However the mappings of an account change while its program publishes."""
    dice, name, kind = random.Random(SEED), shop.source.name, shop.source.kind
    boxes = {(await one.new()).id: one for one in (team, stranger)}
    owners: dict[str, str | None] = dict.fromkeys((f"k{number}" for number in range(KEYS)), None)
    spans: dict[str, list[Span]] = defaultdict(list)
    sent, over = Sent(), asyncio.Event()

    async def flip(keys: list[str]) -> None:
        for _ in range(FLIPS // 4):
            key = dice.choice(keys)
            former, wanted = owners[key], dice.choice([*boxes, None])
            if former == wanted:
                continue
            # a key that goes from one sandbox to another is production's in between
            for owner, act in ((None, former), (wanted, wanted)):
                if act is None:
                    continue
                begun = time.monotonic_ns()
                service = runtime.sandboxes
                principal = boxes[act].principal
                if owner is None:
                    await service.unlink(principal, act, kind, key)
                else:
                    await service.link(principal, act, kind, key)
                spans[key].append(Span(begun, time.monotonic_ns(), owner, 0))
            owners[key] = wanted

    link = await Link.open(runtime.sources.url, accounts.credentials(runtime.cell, shop.source, "account"), name="load")
    publishing = asyncio.create_task(load(link, name, sent, over))
    keys = sorted(owners)
    await asyncio.gather(*(flip(keys[part::4]) for part in range(4)))
    over.set()
    await publishing
    control, _ = await runtime.routing.claims.connected()
    async with asyncio.timeout(30):
        while not await hop_stream.is_drained(link, hop_stream.name_of(shop.source)):
            await asyncio.sleep(0.1)
    assert not await everything(control, STREAM, f"ev.p.{kind}.>"), f"late for its lane, seed {SEED}"
    own = [(None, subject.split(".")[1], n) for subject, n in await everything(link, "OWN", f"{name}.>")]
    lanes = [
        (subject.split(".")[2], subject.split(".")[4], n)
        for subject, n in await everything(control, STREAM, f"ev.s.*.{kind}.>")
    ]
    await link.close()

    assert not sent.refused, (sent.refused[:3], SEED)
    where: dict[tuple[str, int], list[str | None]] = defaultdict(list)
    for lane, key, n in own + lanes:
        where[key, n].append(lane)
    assert where.keys() == sent.made.keys(), f"lost, seed {SEED}"
    assert not [event for event, lanes_ in where.items() if len(lanes_) != 1], f"doubled, seed {SEED}"
    for side in {lane for lane, _, _ in own + lanes}:
        for key in keys:
            numbers = [n for lane, one, n in own + lanes if lane == side and one == key]
            assert numbers == sorted(numbers), f"out of order, seed {SEED}"
    wrong, checked = list[str](), 0
    for event, made in sent.made.items():
        before = [span for span in spans[event[0]] if span.since < made]
        during = [span for span in spans[event[0]][len(before) :] if span.begun < sent.answered[event]]
        checked += not during
        lawful = {before[-1].owner if before else None, *(span.owner for span in during)}
        if where[event][0] not in lawful:
            wrong.append(f"{event} in {where[event][0]}, not in {lawful}")
    assert not wrong, f"{len(wrong)} of {checked} on the wrong side, seed {SEED}: {wrong[:5]}"
    flips = sum(map(len, spans.values()))
    assert len(lanes) > len(sent.made) // 20, "hardly anything was claimed"
    print(f"\n{len(sent.made)} events, {len(lanes)} claimed, {flips} flips, {checked} certain, seed {SEED}")
