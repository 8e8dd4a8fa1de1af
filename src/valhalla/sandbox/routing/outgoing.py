"""Events on their way from an ingress into the stream: in order per key, each until it is acknowledged.

At most ``window`` are sent and unacknowledged: a stream drops what comes in larger bursts. What is refused is sent
again after everything before it was answered, so that a key's events keep their order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from valhalla.sandbox.routing import envelope, subjects
from valhalla.sandbox.routing.acks import Refusal, read_ack
from valhalla.sandbox.routing.contracts import Event
from valhalla.sandbox.routing.errors import EventInvalid, EventsFull, EventTooLarge, Fenced
from valhalla.sandbox.routing.items import Answer, Item, Stored
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.table import RouteTable, Way, sampled

_KEPT_TYPES: Final = 10_000
_UNANSWERED: Final = 5.0


class Outgoing:
    """The queue of one ingress. ``spool`` is how many events wait at most while none can be sent."""

    def __init__(self, *, window: int = 2000, spool: int = 20_000) -> None:
        self.table = RouteTable()
        self.published = 0
        self.duplicates = 0
        self.copies = 0
        self.resent = 0
        self.refused = 0
        self.is_full = False
        """Whether the stream had no room for what was answered last."""
        self.on_epoch: Callable[[], None] = lambda: None
        """Called when ``epoch`` may have become larger."""
        self._window = window
        self._spool = spool
        self._link: Link | None = None
        self._sid: str | None = None
        self._prefix = ""
        self._next = 0
        self._waiting: deque[Item] = deque()
        self._pending: dict[int, Item] = {}
        self._failed: dict[int, Item] = {}
        self._held: dict[tuple[str, str], list[Item]] = {}
        self._barriers: deque[tuple[int, set[int]]] = deque()
        self._types: dict[str, str] = {}
        self._pause = 0.05
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._answered_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._pending) + len(self._failed) + sum(map(len, self._held.values()))

    @property
    def epoch(self) -> int:
        """The newest change of routes that nothing contradicts which was sent before it and is unanswered."""
        if self._link is None:
            return 0
        return self._barriers[0][0] - 1 if self._barriers else self.table.epoch

    @property
    def is_stuck(self) -> bool:
        """Whether something was sent and nothing is answered."""
        return bool(self._pending) and self._loop.time() - self._answered_at > _UNANSWERED

    def post(self, event: Event, future: Answer | None = None) -> None:
        """Queue one event; ``future`` gets where it was stored.

        Raises:
            EventInvalid, EventTooLarge: it cannot be routed.
            Fenced: too many wait already.
            EventsFull: so do they, because the stream has no room.
        """
        tail = f"{self.table.address(event.source, event.key)}.{self._type(event.type)}"
        if len(tail) > subjects.MAX_SUBJECT - 24:
            raise EventInvalid("key and type are too long together", member="key")
        envelope.check_content(event)
        if len(self._waiting) >= self._spool or (self._held and len(self) >= self._spool + self._window):
            if self.is_full:
                raise EventsFull("the stream is full, and more events wait at this ingress than it may keep")
            raise Fenced("more events wait at this ingress than it may keep")
        item = Item(event, tail, future)
        if self._waiting or self._failed or self._link is None or len(self._pending) >= self._window:
            self._waiting.append(item)
        else:
            self._send(item)

    def _type(self, text: str) -> str:
        found = self._types.get(text)
        if found is None:
            if len(self._types) >= _KEPT_TYPES:
                self._types.clear()
            found = self._types[text] = subjects.type_token(text)
        return found

    async def room(self) -> None:
        """Wait until an event would be sent at once, or soon."""
        while len(self._waiting) >= self._window:
            await self._wait()

    async def flushed(self) -> None:
        """Wait until everything is stored."""
        while len(self):
            await self._wait()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # --- routes

    def begin(self, link: Link, table: RouteTable) -> None:
        """Send over a new connection, by routes that were read anew; what is unacknowledged goes first."""
        self.table = table
        self._link = link
        self._prefix = f"{link.inbox}.p."
        self._sid = link.subscribe(f"{self._prefix}*", self._answered)
        self._answered_at = self._loop.time()
        self._pump()

    def halt(self) -> None:
        """Send nothing any more; nothing that was sent counts as stored."""
        self._link = None
        unanswered = [item for _, item in sorted((self._pending | self._failed).items())]
        self.resent += len(unanswered)
        # a copy is made again with its event, if the key is still mirrored
        again = [item for item in unanswered if item.copy is None or not self._is_pending_event(item, unanswered)]
        again += [item for items in self._held.values() for item in items]
        self._pending.clear()
        self._failed.clear()
        self._held.clear()
        self._barriers.clear()
        self._waiting.extendleft(reversed(again))

    def abandon(self) -> None:
        """Give up what is not stored; whoever waits for it is told."""
        while self._waiting:
            future = self._waiting.popleft().future
            if future is not None and not future.done():
                future.set_exception(Fenced("the ingress was stopped before the event was stored"))
        self._changed.set()

    @staticmethod
    def _is_pending_event(copy: Item, items: list[Item]) -> bool:
        event_id = copy.msg_id.rpartition("+")[0]
        return any(item.copy is None and item.msg_id == event_id for item in items)

    def changed(self, where: tuple[str, str], epoch: int) -> None:
        """Take note that the table has a new way for an address: what was sent before is waited for."""
        if self._link is None:
            return
        table = self.table
        sent = {token for token, item in self._pending.items() if table.covers(where, item.source, item.key)}
        sent |= {token for token, item in self._failed.items() if table.covers(where, item.source, item.key)}
        if sent:
            self._barriers.append((epoch, sent))
        for key in [key for key in self._held if not table.way(*key).held]:
            self._waiting.extendleft(reversed(self._held.pop(key)))
        self._pump()
        self.on_epoch()

    # --- sending

    def _send(self, item: Item) -> None:
        way = self.table.way(item.source, item.key)
        if item.copy is not None:
            self._write(item, item.copy, way)
            return
        if way.held:
            self._held.setdefault((item.source, item.key), []).append(item)
            return
        self._write(item, way.sandbox, way)
        if way.mirror is not None and sampled(item.msg_id, way.sample):
            self.copies += 1
            self._write(item.copied(way.mirror), way.mirror, way)

    def _write(self, item: Item, sandbox: str | None, way: Way) -> None:
        assert self._link is not None
        self._next += 1
        if not self._pending:
            self._answered_at = self._loop.time()
        self._pending[self._next] = item
        item.sandbox = sandbox
        lane = "ev.p." if sandbox is None else f"ev.s.{sandbox}."
        claimed = sandbox is not None
        block = envelope.headers(
            item.standing, item.msg_id, epoch=way.epoch if claimed else 0, mirrored=item.copy is not None
        )
        data = item.data
        line = f"HPUB {lane}{item.tail} {self._prefix}{self._next} {len(block)} {len(block) + len(data)}\r\n"
        self._link.write(b"".join((line.encode(), block, data, b"\r\n")))

    def _pump(self) -> None:
        waiting, pending = self._waiting, self._pending
        while waiting and not self._failed and self._link is not None and len(pending) < self._window:
            self._send(waiting.popleft())
        self._changed.set()

    # --- answers

    def _answered(self, subject: str, _reply: str | None, block: bytes | None, body: bytes) -> None:
        token = int(subject[len(self._prefix) :])
        item = self._pending.pop(token, None)
        if item is None:
            return
        self._answered_at = self._loop.time()
        ack = read_ack(block, body)
        error = ack.error
        self.is_full = error is not None and error.is_for_room
        if error is None:
            self.published += 1
            self.duplicates += ack.duplicate
            self._pause = 0.05
            if item.future is not None and not item.future.done():
                item.future.set_result(Stored(ack.seq, ack.duplicate, item.sandbox))
        else:
            self._refused(token, item, error)
        if self._barriers and token not in self._failed:
            self._settle(token)
        if self._failed:
            if not self._pending:
                self._loop.call_later(self._pause, self._retry)
                self._pause = min(self._pause * 2, 2.0)
        elif self._waiting:
            self._pump()
        else:
            self._changed.set()

    def _refused(self, token: int, item: Item, error: Refusal) -> None:
        if error.is_for_ever:
            problem: EventTooLarge | EventsFull = EventTooLarge(
                f"the stream refuses it: {error.description}", member="data"
            )
        elif error.is_for_room and item.future is not None:
            # whoever waits for it is told, and decides; what nobody waits for is kept
            problem = EventsFull(f"the stream refuses it: {error.description}")
        else:
            self._failed[token] = item
            return
        self.refused += 1
        if item.future is not None and not item.future.done():
            item.future.set_exception(problem)

    def _settle(self, token: int) -> None:
        for _, tokens in self._barriers:
            tokens.discard(token)
        while self._barriers and not self._barriers[0][1]:
            self._barriers.popleft()
            self.on_epoch()

    def _retry(self) -> None:
        if self._link is None or self._pending:
            return
        again = sorted(self._failed.items())
        self._failed.clear()
        self.resent += len(again)
        self._waiting.extendleft(item for _, item in reversed(again))
        # they are routed anew: nothing of them is on an old lane, for each was refused there
        for token, _ in again:
            self._settle(token)
        self._pump()
