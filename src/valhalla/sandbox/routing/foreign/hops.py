"""The hops of one process: of each source that is its own, as the registry has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from valhalla.sandbox.routing.foreign.contracts import EventSource
from valhalla.sandbox.routing.foreign.hop import Hop


class Hops:
    """Starts and ends hops; ``make`` builds the one of a source."""

    def __init__(self, make: Callable[[EventSource], Hop]) -> None:
        self._make = make
        self._running: dict[EventSource, tuple[Hop, asyncio.Event, asyncio.Task[None]]] = {}
        self._moved = 0

    @property
    def moved(self) -> int:
        """How many events all of them have put on lanes."""
        return self._moved + sum(hop.moved for hop, _, _ in self._running.values())

    @property
    def lag(self) -> int:
        """How many events wait in the streams of what they route."""
        return sum(hop.lag for hop, _, _ in self._running.values())

    def find(self, name: str) -> Hop | None:
        """Return the hop of a source."""
        return next((hop for source, (hop, _, _) in self._running.items() if source.name == name), None)

    async def bring(self, wanted: Sequence[EventSource]) -> None:
        """End what is not there any more or was changed, and start what is new."""
        await self._end([source for source in self._running if source not in wanted])
        for source in wanted:
            if source not in self._running:
                hop, over = self._make(source), asyncio.Event()
                task = asyncio.create_task(hop.run(over), name=f"hop {source.name}")
                self._running[source] = hop, over, task

    async def end(self) -> None:
        """End all of them; what is under way is stored and acknowledged first."""
        await self._end(list(self._running))

    async def _end(self, sources: Sequence[EventSource]) -> None:
        ended = [self._running.pop(source) for source in sources]
        for _, over, _ in ended:
            over.set()
        await asyncio.gather(*(task for _, _, task in ended), return_exceptions=True)
        self._moved += sum(hop.moved for hop, _, _ in ended)
