"""The field of the attacks on Postgres: two sandboxes of one arena."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.postgres import PostgresSlice

DENIED = "42501"  # insufficient_privilege


@dataclass
class Field:
    """Two sandboxes and everything needed to attack one from the other."""

    postgres: PostgresSlice
    a: Names
    b: Names
    superuser: str
    cell: str

    async def as_a(self) -> asyncpg.Connection[asyncpg.Record]:
        return await self.postgres.login(self.a)

    def fill(self, text: str) -> str:
        values = {
            "a": self.a.schema,
            "b": self.b.schema,
            "arole": self.a.role,
            "brole": self.b.role,
            "group": self.a.database,
        }
        return text.format(**values)
