"""One channel's way out: in order, or several at once; paused while the other side fails."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from valhalla.features.data.notifications import rules, timing
from valhalla.features.data.notifications.circuit import Circuit
from valhalla.features.data.notifications.contracts import Channel, Delivery, Standing
from valhalla.features.data.notifications.delivering.settling import Settled, Settling
from valhalla.features.data.notifications.pacing import Pace
from valhalla.features.data.notifications.senders import Result, Sender
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Problem
from valhalla.kit.log import get_logger

_log = get_logger("notifications")
BATCH: Final = 100
_SEEN: Final = timedelta(seconds=60)


class Lane:
    """Sends what was taken for one channel, as the channel was at ``version``."""

    def __init__(
        self,
        channel: Channel,
        version: int,
        make: Callable[[Channel], Sender],
        settling: Settling,
        *,
        clock: Clock,
        circuit: Circuit,
        pace: Pace | None,
        done: Callable[[str], None],
    ) -> None:
        """``done`` is called with the channel's name whenever there is room for more."""
        self.channel = channel
        self.version = version
        self._make = make
        self._sender: Sender | None = None
        self._settling = settling
        self._clock = clock
        self._done = done
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: datetime | None = None
        self.circuit = circuit
        self.pace = pace
        self.is_retired = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._tasks

    def room(self, now: datetime) -> int:
        """Return how many it would take now."""
        if self.is_retired or self._tasks or not self.channel.enabled or not self.circuit.allows(now):
            return 0
        most = 1 if self.circuit.is_open else BATCH
        return most if self.pace is None else min(most, self.pace.room())

    def start(self, batch: Sequence[Delivery]) -> None:
        """Begin to send what was taken."""
        task = asyncio.create_task(self._work(batch), name=f"notify-{self.channel.name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Interrupt what is under way; what was taken is found again as such."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a channel's lane failed", channel=self.channel.name, error=f"{type(error).__name__}: {error}")
        self._done(self.channel.name)

    async def _work(self, batch: Sequence[Delivery]) -> None:
        if self.channel.ordered:
            left = await self._in_order(batch)
        else:
            left = await self._at_once(batch)
        if left:
            self._settling.give_back([each.id for each in left])
        # what the next turn takes is decided by what is written
        await self._settling.written()

    async def _in_order(self, batch: Sequence[Delivery]) -> Sequence[Delivery]:
        for n, delivery in enumerate(batch):
            if not await self._may_go_on():
                return batch[n:]
            if await self._try(delivery):
                return batch[n + 1 :]
        return ()

    async def _at_once(self, batch: Sequence[Delivery]) -> Sequence[Delivery]:
        waiting = list(reversed(batch))

        async def work() -> None:
            while waiting:
                delivery = waiting.pop()
                if not await self._may_go_on():
                    waiting.append(delivery)
                    return
                await self._try(delivery)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.channel.concurrency, len(batch))):
                group.create_task(work())
        return waiting[::-1]

    async def _may_go_on(self) -> bool:
        if self.is_retired or not (self.circuit.failures == 0 or self.circuit.allows(self._clock.now())):
            return False
        # last: what is taken of the rate is sent
        return self.pace is None or await self.pace.take()

    async def _try(self, delivery: Delivery) -> bool:
        """Send once and leave what came of it to be written; say whether those behind must wait."""
        at, began = self._clock.now(), time.perf_counter()
        result = await self._send(delivery)
        seconds = time.perf_counter() - began
        now = self._clock.now()
        number = delivery.attempts + 1
        pause = None
        if result.outcome == "delivered":
            self.circuit, status = self.circuit.worked(), "delivered"
        else:
            pause = timing.retry_in(number, self.channel.attempts, random.random(), result.retry_after)  # noqa: S311
            status = "dead" if pause is None else "failed"
            if rules.tells_of_channel(result.outcome):
                gone = result.outcome == "gone"
                asked = result.retry_after if result.status in (429, 502, 503, 504) else None
                self.circuit = self.circuit.failed(now, result.error or "", asked, final=gone)
            else:
                # it answered: what it will not have is this message
                self.circuit = self.circuit.worked()
        blocking = pause is not None and rules.tells_of_channel(result.outcome)
        row: dict[str, Any] = {
            "id": delivery.id,
            "status": status,
            "number": number,
            "due_at": None if pause is None else now + timedelta(seconds=pause),
            "blocking": blocking,
            "error": result.error,
            "finished_at": None if status == "failed" else now,
            "at": at,
            "seconds": round(seconds, 6),
            "outcome": result.outcome,
            "code": result.status,
            "excerpt": result.excerpt,
        }
        self._settling.put(Settled(delivery, row, result.outcome, self._standing(result, now), self._news()))
        return blocking

    async def _send(self, delivery: Delivery) -> Result:
        try:
            if self._sender is None:
                self._sender = self._make(self.channel)
            return await self._sender.send(delivery)
        except Problem as problem:
            return Result("failed", error=problem.detail)
        except Exception as error:  # noqa: BLE001 - a sender may meet anything
            # of one message or one channel: the others must not suffer for it
            _log.exception("a sender failed", channel=self.channel.name)
            return Result("refused", error=f"{type(error).__name__} while it was sent")

    def _news(self) -> str | None:
        self.circuit, news = self.circuit.news()
        return news

    def _standing(self, result: Result, now: datetime) -> Standing | None:
        """Return how the channel fares, if that is worth a write."""
        fine = result.outcome == "delivered"
        if fine and self.circuit == Circuit() and self._seen is not None and now - self._seen < _SEEN:
            return None
        self._seen = now if fine else None
        return self.standing(now if fine else None)

    def standing(self, delivered_at: datetime | None = None) -> Standing:
        """Return how the channel fares."""
        circuit = self.circuit
        return Standing(
            channel=self.channel.name,
            failures=circuit.failures,
            failing_since=circuit.failing_since,
            paused_until=circuit.paused_until,
            told=circuit.told,
            last_error=circuit.last_error,
            delivered_at=delivered_at,
        )
