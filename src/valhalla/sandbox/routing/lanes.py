"""A sandbox's lane in the stream: how it is read, what it may hold, and what is done with what nobody has read."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from valhalla.kernel.clock import isoformat
from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing import envelope, subjects
from valhalla.sandbox.routing.contracts import BOTS_STREAM, DEAD_STREAM, STREAM
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.link import Link

_SECOND: Final = 1_000_000_000
_GONE: Final = frozenset({10014, 10037, 10059})
_DELIVERIES: Final = 5


class Kept(NamedTuple):
    """A message of a stream: ``block`` are its headers, ``stored_at`` is by the server's clock."""

    subject: str
    sequence: int
    block: bytes
    body: bytes
    stored_at: datetime | None


def consumer(sandbox: str) -> str:
    """Return the name of the consumer that reads a sandbox's lane."""
    return f"s-{sandbox}"


async def open_lane(link: Link, sandbox: str) -> None:
    """Let a sandbox read its lane at its own pace: each event until it is acknowledged, five times at most.

    Raises:
        Unavailable: JetStream refuses it.
    """
    name = consumer(sandbox)
    config = {
        "durable_name": name,
        "name": name,
        "filter_subject": f"{subjects.lane(sandbox)}.>",
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": 30 * _SECOND,
        "max_deliver": _DELIVERIES,
        # what is not acknowledged ends here: a sandbox that is stuck costs nobody else anything
        "max_ack_pending": 1000,
        "max_waiting": 64,
    }
    try:
        await link.api(f"CONSUMER.CREATE.{STREAM}.{name}", {"stream_name": STREAM, "config": config, "action": ""})
    except ApiError as error:
        raise Unavailable("nats", f"the lane cannot be opened: {error}") from error


async def close_lane(link: Link, sandbox: str) -> None:
    """Remove everything of a sandbox's: consumer, events, dead letters.

    Raises:
        Unavailable: JetStream refuses it; repeat it.
    """
    await _quietly(link, f"CONSUMER.DELETE.{STREAM}.{consumer(sandbox)}")
    await _quietly(link, f"STREAM.PURGE.{STREAM}", {"filter": f"{subjects.lane(sandbox)}.>"})
    await _quietly(link, f"STREAM.PURGE.{DEAD_STREAM}", {"filter": f"{subjects.DEAD}.s.{sandbox}.>"})
    await _quietly(link, f"STREAM.PURGE.{BOTS_STREAM}", {"filter": f"{subjects.BOTS}.{sandbox}.>"})


async def trim_lane(link: Link, sandbox: str, keep: int) -> int:
    """Keep the newest ``keep`` events of a lane and return how many were removed.

    Raises:
        Unavailable: JetStream refuses it.
    """
    answer = await _quietly(
        link, f"STREAM.PURGE.{STREAM}", {"filter": f"{subjects.lane(sandbox)}.>", "keep": max(keep, 1)}
    )
    return int(answer.get("purged", 0))


async def drop_key(link: Link, sandbox: str, source: str, key: str) -> None:
    """Remove a key's events from a lane.

    Raises:
        Unavailable: JetStream refuses it.
    """
    where = subjects.lane_of_key(sandbox, subjects.address(source, key))
    await _quietly(link, f"STREAM.PURGE.{STREAM}", {"filter": where})


async def lane_info(link: Link, sandbox: str) -> dict[str, Any]:
    """Return what JetStream says of a lane's consumer, empty if it has none."""
    return await _quietly(link, f"CONSUMER.INFO.{STREAM}.{consumer(sandbox)}")


async def bot_positions(link: Link, sandbox: str) -> dict[tuple[int, int], int]:
    """Return up to which sequence a sandbox's bots were sent its lane, by shard and number of shards.

    Raises:
        Unavailable: JetStream does not answer.
    """
    found: dict[tuple[int, int], int] = {}
    sequence = 1
    while (message := await next_message(link, BOTS_STREAM, sequence, f"{subjects.BOTS}.{sandbox}.>")) is not None:
        subject, at, _, body = message
        shard, shards = subject.split(".")[2:]
        found[int(shard), int(shards)] = int(body)
        sequence = at + 1
    return found


def sent_to_bots(positions: Mapping[tuple[int, int], int], key: str) -> int:
    """Return up to which sequence bots were sent the events of a key of Discord's, by what ``bot_positions`` found."""
    return max((at for (shard, shards), at in positions.items() if subjects.shard_of(key, shards) == shard), default=0)


async def counts(link: Link, stream: str, wanted: str) -> Mapping[str, int]:
    """Return how many messages a stream has under each subject that a filter finds.

    Raises:
        Unavailable: JetStream does not say.
    """
    try:
        answer = await link.api(f"STREAM.INFO.{stream}", {"subjects_filter": wanted})
    except ApiError as error:
        raise Unavailable("nats", f"the stream {stream} cannot be read: {error}") from error
    found: dict[str, int] = answer["state"].get("subjects") or {}
    return found


async def return_key(link: Link, sandbox: str, source: str, key: str) -> int:
    """Move a key's unread events to production's lane, in order, and return how many.

    Unread is what the lane's consumer has not had acknowledged and no bot was sent. Copies for mirrors are removed:
    production had them.
    Its ingresses hold the key meanwhile. Repeat it after a crash: each event is removed when it is stored there.

    Raises:
        Unavailable: JetStream does not answer; repeat it.
    """
    where = subjects.address(source, key)
    filtered = subjects.lane_of_key(sandbox, where)
    floor = int((await lane_info(link, sandbox)).get("ack_floor", {}).get("stream_seq", 0))
    if source == subjects.DISCORD:
        # what a bot was sent it was sent without that consumer
        floor = max(floor, sent_to_bots(await bot_positions(link, sandbox), key))
    moved, sequence = 0, floor + 1
    while True:
        message = await next_message(link, STREAM, sequence, filtered)
        if message is None:
            break
        subject, at, block, body = message
        sequence = at + 1
        headers = envelope.read_block(block)
        if envelope.MIRROR not in headers:
            # an id of its own: by the old one the stream would know it already
            kept = {name: value for name, value in headers.items() if not name.startswith(("nats-", "valhalla-"))}
            again = {**kept, envelope.MSG_ID: f"{headers.get('nats-msg-id', at)}~{at}"}
            type_ = subject.rpartition(".")[2]
            try:
                await link.store(f"{subjects.PRODUCTION}.{where}.{type_}", body, headers=again)
            except ApiError as error:
                raise Unavailable("nats", f"production's lane does not take an event back: {error}") from error
            moved += 1
        await _quietly(link, f"STREAM.MSG.DELETE.{STREAM}", {"seq": at, "no_erase": True})
    return moved


async def next_message(link: Link, stream: str, sequence: int, filtered: str) -> tuple[str, int, bytes, bytes] | None:
    """Return subject, sequence, headers' block and body of the first message from ``sequence`` on under a filter.

    Raises:
        Unavailable: JetStream does not answer.
    """
    found = await find_message(link, stream, filtered, sequence=sequence)
    return None if found is None else found[:4]


async def find_message(
    link: Link, stream: str, filtered: str, *, sequence: int = 1, since: datetime | None = None
) -> Kept | None:
    """Return the first message under a filter from ``sequence`` on, or, with ``since``, of those stored from then on.

    Raises:
        Unavailable: JetStream does not answer.
    """
    start = {"seq": max(sequence, 1)} if since is None else {"start_time": isoformat(since)}
    try:
        answer = await link.api(f"STREAM.MSG.GET.{stream}", start | {"next_by_subj": filtered})
    except ApiError as error:
        if error.code in _GONE:
            return None
        raise Unavailable("nats", f"the stream cannot be read: {error}") from error
    message = answer["message"]
    return Kept(
        str(message["subject"]),
        int(message["seq"]),
        base64.b64decode(message.get("hdrs", "")),
        base64.b64decode(message.get("data", "")),
        instant(message.get("time")),
    )


def instant(text: str | None) -> datetime | None:
    """Read an instant of the server's: nine digits after the point, of which six count."""
    if not text:
        return None
    whole, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{rest[:6]:0<6}+00:00")


async def _quietly(link: Link, subject: str, document: Any = None) -> dict[str, Any]:
    """Ask JetStream about something that may be gone."""
    try:
        return await link.api(subject, document)
    except ApiError as error:
        if error.code in _GONE:
            return {}
        raise Unavailable("nats", f"nats refuses: {error}") from error
