"""The slices of one control plane, and steps taken in all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from valhalla.kit.faults import crashpoint
from valhalla.sandbox.slices.contracts import Names, Probe, Slice
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.postgres import PostgresSlice
from valhalla.sandbox.slices.sqlite import SqliteSlice
from valhalla.sandbox.slices.valkey import ValkeySlice


@dataclass(frozen=True, slots=True)
class Backends:
    """One object per backend; iterates over them."""

    postgres: PostgresSlice
    valkey: ValkeySlice
    nats: NatsSlice
    sqlite: SqliteSlice

    def __iter__(self) -> Iterator[Slice]:
        yield self.postgres
        yield self.valkey
        yield self.nats
        yield self.sqlite

    def of(self, names: Names) -> list[Slice]:
        """Return the slices that a sandbox has."""
        return [part for part in self if part.name in names.slices]

    async def each(
        self,
        verb: str,
        names: Names,
        step: Callable[[Slice], Coroutine[Any, Any, None]],
        *,
        without: Collection[str] = (),
    ) -> dict[str, BaseException]:
        """Take a step in every slice of a sandbox concurrently; return what failed after all have ended.

        ``without`` names slices that are not asked. Nothing is cancelled when one fails: a step that still runs would
        race with its own clean-up.
        """

        async def take(part: Slice) -> None:
            await step(part)
            crashpoint(f"{verb}.{part.name}")

        parts = [part for part in self.of(names) if part.name not in without]
        results = await asyncio.gather(*(take(part) for part in parts), return_exceptions=True)
        return {part.name: error for part, error in zip(parts, results, strict=True) if error is not None}

    async def provision_many(self, many: Sequence[Names], *, expires_at: datetime, seed: str) -> None:
        """Make several sandboxes' slices with as few round trips as the backends allow.

        Raises:
            the first failure, after every backend has ended its step.
        """
        results = await asyncio.gather(
            self.postgres.provision_many(many, expires_at=expires_at, seed=seed),
            self.valkey.ensure(many),
            *(self.nats.provision(names, expires_at=expires_at) for names in many),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def cut(self, names: Names) -> dict[str, BaseException]:
        """End all access; return the failures by slice."""
        return await self.each("cut", names, lambda part: part.cut(names))

    async def probe(self, names: Names) -> Mapping[str, Probe]:
        """Check a sandbox's own credentials in every slice it has."""
        parts = self.of(names)
        probes = await asyncio.gather(*(part.probe(names) for part in parts))
        return {part.name: probe for part, probe in zip(parts, probes, strict=True)}

    def connection(self, names: Names, *, expires_at: datetime) -> dict[str, dict[str, Any]]:
        """Return a sandbox's addresses and credentials by slice."""
        return {part.name: part.connection(names, expires_at=expires_at) for part in self.of(names)}
