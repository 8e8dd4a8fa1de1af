"""The deliverer: one process at a time sends; when it dies another takes over and sends what was under way again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from valhalla.features.data.notifications import queue, rules, store
from valhalla.features.data.notifications.circuit import Circuit
from valhalla.features.data.notifications.contracts import Channel, Delivery, Standing
from valhalla.features.data.notifications.delivering.lane import Lane
from valhalla.features.data.notifications.delivering.outfit import Outfit
from valhalla.features.data.notifications.delivering.settling import Settling
from valhalla.features.data.notifications.delivering.tending import Tending
from valhalla.features.data.notifications.pacing import Pace
from valhalla.features.data.notifications.policy import Policy
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Unavailable
from valhalla.kit.advisory import NOTIFICATIONS
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.listening import Link, listening
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of

_log = get_logger("notifications")
_LOOK: Final = 1.0
_CHECK: Final = 5.0
_GRACE: Final = 3.0
_GATHER: Final = 0.002


class Deliverer:
    """Sends at least once, each channel in the order of its queue."""

    def __init__(self, db: Database, ledger: Ledger, policy: Policy, outfit: Outfit, *, clock: Clock) -> None:
        self._db = db
        self._policy = policy
        self._outfit = outfit
        self._clock = clock
        self.settling = Settling(db, ledger, policy, clock=clock)
        self._tending = Tending(db, ledger, policy, clock=clock)
        self._lanes: dict[str, Lane] = {}
        self._standings: dict[str, Standing] = {}
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self.is_leading = False
        self.last_error: str | None = None
        self.beat: Callable[[], None] = lambda: None
        """Called every few seconds, whether it leads or waits to."""

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """The channels that this process sends to."""
        return self._lanes

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; a lost database is waited for."""
        backoff = Backoff(0.2, 5.0)
        while not stop.is_set():
            try:
                async with listening(self._db, store.CHANNEL, self._hear) as link:
                    backoff.reset()
                    self.last_error = None
                    # the lock belongs to this connection: the server frees it when the process or the network dies
                    while not await link.value("SELECT pg_try_advisory_lock($1)", NOTIFICATIONS):
                        self.beat()
                        if await first_of(stop, link.lost, seconds=_LOOK):
                            break
                    else:
                        await self._lead(link, stop)
            except Unavailable as problem:
                self.last_error = problem.detail
                _log.warning("notifications wait for the database", error=problem.detail)
            except Exception as error:  # noqa: BLE001 - it outlives whatever it meets, and says so
                self.last_error = f"{type(error).__name__}: {error}"
                _log.exception("delivering notifications failed and begins again")
            self.beat()
            await first_of(stop, seconds=backoff.next())

    async def _lead(self, link: Link, stop: asyncio.Event) -> None:
        recovered = await self._db.run(queue.recover)
        if recovered:
            _log.info("what another process was sending is sent again", deliveries=recovered)
        self._standings = {each.channel: each for each in await self._db.read(store.every_standing)}
        self._lanes = {}
        self.settling.reset()
        end = asyncio.Event()
        writing = asyncio.create_task(self.settling.run(end), name="notify-settling")
        sending = asyncio.create_task(self._send(end), name="notify-sending")
        self.is_leading = True
        try:
            while not any(task.done() for task in (sending, writing)):
                if await first_of(stop, link.lost, seconds=_CHECK):
                    break
                await link.check()
            for task in (sending, writing):
                if task.done():
                    task.result()
        finally:
            self.is_leading = False
            end.set()
            sending.cancel()
            await asyncio.gather(*(lane.stop() for lane in self._lanes.values()), return_exceptions=True)
            if not link.lost.is_set():
                # what was delivered should also be written, or it is delivered again
                await asyncio.wait([writing], timeout=_GRACE)
            writing.cancel()
            await asyncio.gather(writing, sending, return_exceptions=True)
            if not link.lost.is_set():
                await self._db.run(queue.recover)

    async def _send(self, end: asyncio.Event) -> None:
        backoff = Backoff(0.2, 5.0)
        looked = float("-inf")
        while not end.is_set():
            self._wake.clear()
            try:
                if self._clock.monotonic() - looked >= _LOOK:
                    looked = self._clock.monotonic()
                    self._due.update(self._policy.every_channel())
                    await self._tending.look(self._lanes)
                    self.beat()
                took = await self._fill()
            except Unavailable as problem:
                self.last_error = problem.detail
                await first_of(end, seconds=backoff.next())
                continue
            self.last_error = None
            backoff.reset()
            if not took:
                await first_of(self._wake, end, seconds=_LOOK)
                # one transaction takes for all channels that become free together
                await asyncio.sleep(_GATHER)

    async def _fill(self) -> bool:
        """Take what is due for every lane with room; say whether there was anything."""
        now = self._clock.now()
        due, self._due = self._due, set()
        wanted: list[tuple[str, int, bool]] = []
        for name in sorted(due):
            lane = self._lane(name)
            if lane is not None and (room := lane.room(now)):
                wanted.append((name, room, lane.channel.ordered))
        if not wanted:
            return False
        try:
            taken = await self._db.run(queue.take, wanted, now)
        except BaseException:
            self._due |= due
            raise
        batches: dict[str, list[Delivery]] = {}
        for delivery in taken:
            batches.setdefault(delivery.channel, []).append(delivery)
        for name, batch in batches.items():
            self._lanes[name].start(batch)
        return bool(batches)

    def _lane(self, name: str) -> Lane | None:
        """Return the lane of a channel as it is now; a changed one begins when the old one has ended."""
        record = self._policy.every_channel().get(name)
        lane = self._lanes.get(name)
        if lane is not None and (record is None or record.version != lane.version):
            lane.is_retired = True
            if not lane.is_idle:
                return None
            del self._lanes[name]
        if record is None:
            return None
        if name not in self._lanes:
            self._lanes[name] = Lane(
                record.value,
                record.version,
                self._outfit.sender,
                self.settling,
                clock=self._clock,
                circuit=self._circuit(name, lane),
                pace=self._pace(record.value),
                done=self._free,
            )
        return self._lanes[name]

    def _pace(self, channel: Channel) -> Pace | None:
        return None if channel.rate is None else Pace(self._db, channel.name, rules.rate_of(channel.rate))

    def _circuit(self, name: str, before: Lane | None) -> Circuit:
        # a channel that was changed is tried again; that it failed is still to be taken back
        if before is not None:
            return Circuit(told=before.circuit.told)
        known = self._standings.get(name)
        if known is None:
            return Circuit()
        return Circuit(known.failures, known.failing_since, known.paused_until, known.told, known.last_error)

    def _free(self, name: str) -> None:
        self._due.add(name)
        self._wake.set()

    def _hear(self, payload: str) -> None:
        if payload.startswith(store.RESUME):
            lane = self._lanes.get(payload.removeprefix(store.RESUME))
            if lane is not None:
                lane.circuit = Circuit(told=lane.circuit.told)
        else:
            self._due.add(payload)
        self._wake.set()

    def status(self) -> Mapping[str, Any]:
        """Describe it for ``/system/info`` and the readiness check."""
        return {
            "leading": self.is_leading,
            "error": self.last_error,
            "failing": sorted(name for name, lane in self._lanes.items() if lane.circuit.is_broken),
        }
