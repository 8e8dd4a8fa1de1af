"""All shards of one process: found out, started in turn, written down, stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from valhalla.kernel.problems import Invalid
from valhalla.kit.waiting import unless
from valhalla.sandbox.routing.discord.gateway.asking import DISCORD, ask
from valhalla.sandbox.routing.discord.gateway.conversation import Identity
from valhalla.sandbox.routing.discord.gateway.errors import IdentifiesSpent
from valhalla.sandbox.routing.discord.gateway.intake import Counts
from valhalla.sandbox.routing.discord.gateway.intents import parse
from valhalla.sandbox.routing.discord.gateway.keeping import Shelf
from valhalla.sandbox.routing.discord.gateway.pace import Pace
from valhalla.sandbox.routing.discord.gateway.shard import Shard
from valhalla.sandbox.routing.discord.gateway.turns import Turns
from valhalla.sandbox.routing.errors import Fenced
from valhalla.sandbox.routing.ingress import Ingress


@dataclass(frozen=True, slots=True)
class Options:
    """What is read. ``shards`` None: as many as Discord advises; ``only``: those of them that this process reads.

    ``keep`` is the folder in which sessions are kept, so that the next process resumes them.
    """

    token: SecretStr
    intents: int = field(default_factory=lambda: parse("default"))
    shards: int | None = None
    only: Sequence[int] | None = None
    keep: Path | None = None
    api: str = DISCORD


class Gateway:
    """Reads what the options say until it is stopped; ``changed`` is called when a shard's state is another."""

    def __init__(
        self,
        options: Options,
        ingress: Ingress,
        *,
        changed: Callable[[Shard], None] = lambda shard: None,
        pace: Pace | None = None,
    ) -> None:
        self.shards: list[Shard] = []
        self.of = 0
        self._options = options
        self._ingress = ingress
        self._changed = changed
        self._pace = pace or Pace()

    async def run(self, stop: asyncio.Event) -> None:
        """Read until ``stop`` is set; then connections are closed and what was read is stored.

        Raises:
            Problem: Discord refuses for ever, or another process reads a shard.
        """
        try:
            await unless(stop, self._prepare())
            if stop.is_set():
                return
            tasks = [asyncio.create_task(shard.run(), name=f"shard {shard.number}") for shard in self.shards]
            tasks.append(asyncio.create_task(self._keep()))
            stopped = asyncio.create_task(stop.wait())
            try:
                done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (*tasks, stopped):
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.gather(*(shard.leave() for shard in self.shards))
                # what is not stored by then its session gets again, if it is kept
                with contextlib.suppress(Fenced):
                    await self._ingress.flush(within=self._pace.room)
            for task in done - {stopped}:
                task.result()
        finally:
            for shard in self.shards:
                shard.close()

    def totals(self) -> dict[str, int]:
        """Return the counts of all shards together."""
        counts = [asdict(shard.counts) for shard in self.shards]
        return {name: sum(each[name] for each in counts) for name in asdict(Counts())}

    def document(self) -> dict[str, Any]:
        """Say how things stand, for people and programs."""
        live = sum(shard.state == "live" for shard in self.shards)
        return {
            "shards": self.of,
            "read": len(self.shards),
            "live": live,
            **self.totals(),
            "stored": self._ingress.outgoing.published,
            "duplicates": self._ingress.outgoing.duplicates,
            "waiting": len(self._ingress.outgoing),
        }

    async def _prepare(self) -> None:
        options = self._options
        advice = await ask(options.api, options.token)
        self.of = options.shards or advice.shards
        numbers = range(self.of) if options.only is None else sorted(set(options.only))
        if wrong := [number for number in numbers if not 0 <= number < self.of]:
            raise Invalid(f"there is no shard {wrong[0]} of {self.of}", help="Shards are counted from 0.")
        turns = Turns(advice.max_concurrency, self._pace.identify_every)
        folder = self._folder()
        for number in numbers:
            identity = Identity(options.token, options.intents, number, self.of)
            shelf = None if folder is None else Shelf(folder, number, self.of)
            self.shards.append(Shard(identity, advice.url, self._ingress, turns, shelf, self._changed, self._pace))
        new = sum(shard.session is None for shard in self.shards)
        if advice.remaining < new:
            raise IdentifiesSpent(
                f"{new} sessions have to begin, {advice.remaining} may", retry_after=advice.reset_after
            )

    def _folder(self) -> Path | None:
        if self._options.keep is None:
            return None
        # another bot's sessions are of no use
        digest = hashlib.blake2b(self._options.token.get_secret_value().encode(), digest_size=8).hexdigest()
        return self._options.keep / f"{digest}-{self._options.intents}"

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._pace.keeping)
            for shard in self.shards:
                shard.keep()
