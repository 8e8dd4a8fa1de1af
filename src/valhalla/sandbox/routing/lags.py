"""How much of a lane nobody has read: neither its consumer, nor bots, which are sent it without that consumer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.lanes import bot_positions, counts, find_message, lane_info, sent_to_bots
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.pulling import Pull


@dataclass(frozen=True, slots=True)
class Lag:
    """What one lane's consumer has not had acknowledged. ``is_read``: somebody has ever taken something from it.

    ``waiting`` is without what bots were sent, if ``beside_bots`` says so; ``oldest`` is then of what waits.
    """

    waiting: int = 0
    unacknowledged: int = 0
    redelivered: int = 0
    floor: int = 0
    delivered: int = 0
    is_read: bool = False
    oldest: datetime | None = None

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Lag:
        """Read what JetStream says of a consumer; it may have none."""
        delivered = info.get("delivered", {})
        return cls(
            int(info.get("num_pending", 0)),
            int(info.get("num_ack_pending", 0)),
            int(info.get("num_redelivered", 0)),
            int(info.get("ack_floor", {}).get("stream_seq", 0)),
            int(delivered.get("stream_seq", 0)),
            int(delivered.get("consumer_seq", 0)) > 0,
        )

    @property
    def unread(self) -> int:
        """How many events that is."""
        return self.waiting + self.unacknowledged


async def lag_of(link: Link, sandbox: str) -> Lag:
    """Return how one lane is read.

    Raises:
        Unavailable: JetStream does not say.
    """
    return await beside_bots(link, sandbox, Lag.of(await lane_info(link, sandbox)))


async def lane_lags(link: Link) -> dict[str, Lag]:
    """Return how every lane's consumer is, by sandbox; what bots were sent is not looked at.

    Raises:
        Unavailable: JetStream does not say.
    """
    found: dict[str, Lag] = {}
    offset = 0
    while True:
        try:
            answer = await link.api(f"CONSUMER.LIST.{STREAM}", {"offset": offset})
        except ApiError as error:
            raise Unavailable("nats", f"the lanes cannot be listed: {error}") from error
        infos: list[dict[str, Any]] = answer.get("consumers") or []
        found |= {info["name"][2:]: Lag.of(info) for info in infos if info["name"].startswith("s-")}
        offset += len(infos)
        if not infos or offset >= int(answer.get("total", 0)):
            return found


async def beside_bots(link: Link, sandbox: str, lag: Lag) -> Lag:
    """Return how a lane is when what bots were sent of it counts as read.

    Raises:
        Unavailable: JetStream does not say.
    """
    sent = await bot_positions(link, sandbox) if lag.waiting else {}
    if not sent:
        return lag
    lane = subjects.lane(sandbox)
    # everything behind one position is counted at once, by filters that do not overlap
    behind: dict[int, set[str]] = defaultdict(set)
    for subject in await counts(link, STREAM, f"{lane}.>"):
        source, _, rest = subject.removeprefix(f"{lane}.").partition(".")
        if source == subjects.DISCORD and (key := rest.partition(".")[0]):
            behind[max(lag.delivered, sent_to_bots(sent, key))].add(f"{lane}.{source}.{key}.>")
        else:
            behind[lag.delivered].add(f"{lane}.{source}.>")
    waiting, oldest = 0, list[datetime]()
    for position, filters in behind.items():
        pull = await Pull.open(link, STREAM, sorted(filters), position + 1, headers_only=True)
        try:
            waiting += pull.pending
            oldest += [each.stored_at for each in (await pull.take(1) if pull.pending else ())]
        finally:
            await pull.close()
    return replace(lag, waiting=waiting, oldest=min(oldest, default=None))


async def oldest_unread(link: Link, sandbox: str, lag: Lag) -> datetime | None:
    """Return when the oldest event was stored that nobody has read.

    Raises:
        Unavailable: JetStream does not say.
    """
    if not lag.unread:
        return None
    if lag.oldest is not None and not lag.unacknowledged:
        return lag.oldest
    message = await find_message(link, STREAM, f"{subjects.lane(sandbox)}.>", sequence=lag.floor + 1)
    return None if message is None else message.stored_at
