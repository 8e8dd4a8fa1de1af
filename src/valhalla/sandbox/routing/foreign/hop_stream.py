"""The stream that a router reads: a source's events, cut into parts by their keys.

Each part has one durable consumer at a time, made anew by whoever takes it over from where the last one had all of
its messages acknowledged: so what comes is in order, whatever was under way when a router died. The consumer that is
removed tells a router that was frozen that the part is another's.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from valhalla.kernel.clock import isoformat
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.sandbox.routing.contracts import Sizes
from valhalla.sandbox.routing.foreign import patterns
from valhalla.sandbox.routing.foreign.contracts import PARTITIONS, EventSource
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.link import Link

_SECOND: Final = 1_000_000_000
_NO_STREAM: Final = 10059
_NO_CONSUMER: Final = 10014
PENDING: Final = 1000
"""How many events of one part are on their way at most."""


class Position(NamedTuple):
    """Where a part is: everything up to ``stored`` is stored, what may be lies up to ``sent``; ``at`` is when."""

    stored: int = 0
    sent: int = 0
    at: datetime | None = None
    consumers: tuple[str, ...] = ()


def name_of(source: EventSource) -> str:
    """Return the name of a source's stream."""
    return f"VH_{'HOP' if source.way == 'router' else 'CLAIMED'}_{source.name}"


async def ensure(link: Link, source: EventSource, sizes: Sizes, *, now: datetime) -> str:
    """Make the stream, if there is none, and return what tells its messages from those of one before it.

    A stream of the account's own is followed from ``now`` on: what it holds already its readers have had.

    Raises:
        Unavailable: JetStream does not answer.
        Misconfigured: it refuses the stream: the one that is named does not exist, or another has the subjects.
    """
    name = name_of(source)
    try:
        info = await _info(link, name)
        if info is None:
            info = await link.api(f"STREAM.CREATE.{name}", _config(source, sizes, now))
        elif _shape(info["config"]) != _shape(_config(source, sizes, now)):
            raise Misconfigured(
                f"the stream {name} was made for other subjects than the source '{source.name}' has now",
                help=f"Let it run empty, remove it ('nats stream rm {name}') and start the routers again.",
                setting="subject",
            )
    except ApiError as error:
        raise Misconfigured(
            f"the stream {name} cannot be made: {error}",
            help="If a stream of the account has the subjects already, name it: 'valhalla source set NAME stream=…'.",
            setting="stream",
        ) from error
    return f"{zlib.crc32(str(info['created']).encode()):08x}"


async def _info(link: Link, name: str) -> dict[str, Any] | None:
    try:
        return await link.api(f"STREAM.INFO.{name}")
    except ApiError as error:
        if error.code == _NO_STREAM:
            return None
        raise


def _config(source: EventSource, sizes: Sizes, now: datetime) -> dict[str, Any]:
    wanted = patterns.wanted(source)
    transform = {"src": wanted, "dest": patterns.hop_subject(source)}
    config: dict[str, Any] = {
        "name": name_of(source),
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_age": int(sizes.max_age.total_seconds() * _SECOND),
        "duplicate_window": int(sizes.dedup.total_seconds() * _SECOND),
        "num_replicas": sizes.replicas,
        "allow_direct": True,
    }
    if source.stream is None:
        return config | {"subjects": [wanted], "subject_transform": transform}
    origin = {"name": source.stream, "opt_start_time": isoformat(now), "subject_transforms": [transform]}
    return config | {"sources": [origin]}


def _shape(config: Mapping[str, Any]) -> tuple[Any, ...]:
    origins: Sequence[Mapping[str, Any]] = config.get("sources") or ()
    origin: Mapping[str, Any] = origins[0] if origins else {}
    return (
        config.get("subjects") or [],
        config.get("subject_transform") or {},
        origin.get("name"),
        origin.get("subject_transforms"),
    )


async def positions(link: Link, stream: str) -> dict[int, Position]:
    """Return where each part is that anybody ever had.

    Raises:
        Unavailable: JetStream does not say.
    """
    found: dict[int, Position] = {}
    offset = 0
    while True:
        answer = await api(link, f"CONSUMER.LIST.{stream}", {"offset": offset})
        consumers: Sequence[Mapping[str, Any]] = answer.get("consumers") or ()
        for one in consumers:
            head, dash, _ = str(one["name"]).partition("-")
            if dash and head[:1] == "p" and head[1:].isdigit() and int(head[1:]) < PARTITIONS:
                part = int(head[1:])
                found[part] = _later(found.get(part, Position()), _position(one))
        offset += len(consumers)
        if not consumers or offset >= int(answer.get("total", 0)):
            return found


def _position(consumer: Mapping[str, Any]) -> Position:
    floor, delivered = consumer["ack_floor"], consumer["delivered"]
    begun = int(consumer["config"].get("opt_start_seq", 1)) - 1
    active = delivered.get("last_active")
    at = datetime.fromisoformat(active[:19]).replace(tzinfo=UTC) if isinstance(active, str) else None
    return Position(
        max(int(floor["stream_seq"]), begun), max(int(delivered["stream_seq"]), begun), at, (str(consumer["name"]),)
    )


def _later(one: Position, other: Position) -> Position:
    """Return where a part is of which two consumers know: whatever one of them had acknowledged is stored."""
    instants = [at for at in (one.at, other.at) if at is not None]
    return Position(
        max(one.stored, other.stored),
        max(one.sent, other.sent),
        min(instants, default=None),
        one.consumers + other.consumers,
    )


async def take(link: Link, stream: str, part: int, owner: str, position: Position) -> str:
    """Make a consumer of a part that begins behind what is stored, remove those before it, and return its name.

    Raises:
        Unavailable: JetStream does not answer, or refuses it.
    """
    name = f"p{part}-{owner}"
    config = {
        "durable_name": name,
        "name": name,
        "filter_subject": patterns.part_filter(part),
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": position.stored + 1,
        # of an event that is acknowledged all before it are stored
        "ack_policy": "all",
        # what was not acknowledged comes again by a new consumer, in order; never by itself
        "ack_wait": 24 * 3600 * _SECOND,
        "max_ack_pending": 2 * PENDING,
        "max_waiting": 16,
    }
    await api(link, f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config, "action": "create"})
    for former in position.consumers:
        await _remove(link, stream, former)
    return name


async def _remove(link: Link, stream: str, consumer: str) -> None:
    try:
        await link.api(f"CONSUMER.DELETE.{stream}.{consumer}")
    except ApiError as error:
        if error.code != _NO_CONSUMER:
            raise Unavailable("nats", f"a former consumer cannot be removed: {error}") from error


async def trim(link: Link, stream: str) -> None:
    """Remove what every part has stored: the disk holds what is still to be moved.

    Raises:
        Unavailable: JetStream does not answer.
    """
    found = await positions(link, stream)
    if len(found) == PARTITIONS:
        await api(link, f"STREAM.PURGE.{stream}", {"seq": min(one.stored for one in found.values()) + 1})


async def api(link: Link, subject: str, document: Any = None) -> dict[str, Any]:
    """Ask JetStream.

    Raises:
        Unavailable: it does not answer, or refuses.
    """
    try:
        return await link.api(subject, document)
    except ApiError as error:
        raise Unavailable("nats", f"a router's stream does not serve: {error}") from error


async def is_drained(link: Link, stream: str) -> bool:
    """Say whether everything in the stream is on lanes.

    Raises:
        Unavailable: JetStream does not say.
    """
    state = (await api(link, f"STREAM.INFO.{stream}"))["state"]
    if not int(state["messages"]):
        return True
    consumers: Sequence[Mapping[str, Any]] = (await api(link, f"CONSUMER.LIST.{stream}"))["consumers"] or ()
    waiting = any(int(one["num_pending"]) or int(one["num_ack_pending"]) for one in consumers)
    return len(consumers) >= PARTITIONS and not waiting
