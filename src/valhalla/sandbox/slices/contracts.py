"""What a slice is: the names it works with and the verbs it offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol

SLICES: Final = ("postgres", "valkey", "nats", "sqlite")
DEFAULT_SLICES: Final = ("postgres", "valkey", "nats")

Isolation = Literal["schema", "database"]
"""What a sandbox's Postgres slice has to itself: a schema in a database shared with others, or a database."""


@dataclass(frozen=True, slots=True)
class Names:
    """Every name a sandbox has in the backends, as stored in its row; nothing recomputes or truncates one."""

    id: str
    database: str
    schema: str
    role: str
    valkey_user: str
    key_prefix: str
    nats_account: str
    subject_prefix: str
    inbox_prefix: str
    slices: tuple[str, ...] = DEFAULT_SLICES

    @property
    def isolation(self) -> Isolation:
        """Only a sandbox's own database ends with its id."""
        return "database" if self.database.endswith(self.id) else "schema"

    @property
    def place(self) -> tuple[str, str, Isolation] | tuple[None, None, None]:
        """Database, schema and isolation of the Postgres slice, or nothing when there is none."""
        if "postgres" not in self.slices:
            return None, None, None
        return self.database, self.schema, self.isolation

    @classmethod
    def for_sandbox(
        cls, sandbox_id: str, *, cell: str, database: str, slices: tuple[str, ...] = DEFAULT_SLICES
    ) -> Names:
        """Choose the names of a new sandbox; called once, before its row is inserted."""
        return cls(
            id=sandbox_id,
            database=database,
            schema=f"sbx_{sandbox_id}",
            role=f"sbx_{sandbox_id}",
            valkey_user=f"vh_{cell}_{sandbox_id}",
            # the braces are a cluster hash tag: all keys share one slot, so teardown never scans the keyspace
            key_prefix=f"{{{sandbox_id}}}:",
            nats_account=f"vh_{cell}_{sandbox_id}",
            subject_prefix=f"sbx.{sandbox_id}.",
            inbox_prefix=f"_INBOX_{sandbox_id}",
            slices=slices,
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer of one check: ``reason`` says in the user's words what is wrong."""

    ok: bool
    latency_ms: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One thing in a backend that carries this cell's mark: a candidate for the orphan sweep.

    ``sandbox_id`` is the id read from the thing's own name.
    """

    slice: str
    kind: str
    name: str
    sandbox_id: str


class Slice(Protocol):
    """One backend's part of every sandbox. All verbs are idempotent and safe to resume after a crash.

    Any of them raises ``Unavailable`` when the backend cannot be reached.
    """

    @property
    def name(self) -> str:
        """The slice's word: one of ``SLICES``."""
        ...

    async def provision(self, names: Names, *, expires_at: datetime) -> None:
        """Make the slice and its credentials."""
        ...

    async def extend(self, names: Names, *, expires_at: datetime) -> None:
        """Let the credentials live until ``expires_at``."""
        ...

    async def cut(self, names: Names) -> None:
        """End all access now: no login works and no live connection survives."""
        ...

    async def admit(self, names: Names, *, expires_at: datetime) -> None:
        """Undo ``cut`` before anything is dropped: the credentials work again, until ``expires_at``."""
        ...

    async def drop(self, names: Names) -> None:
        """Remove everything the slice holds. Called after ``cut``."""
        ...

    async def empty(self, names: Names) -> None:
        """Remove the contents and keep the credentials; the schema is left empty for its template."""
        ...

    async def probe(self, names: Names) -> Probe:
        """Check that the sandbox's own credentials work."""
        ...

    async def ping(self) -> Probe:
        """Check the backend itself with the control plane's credentials."""
        ...

    async def found(self) -> Sequence[Found]:
        """List what this cell has in the backend, for comparison with the registry."""
        ...

    async def remove(self, orphan: Found) -> None:
        """Remove one thing that ``found`` listed and that was proven to be an orphan."""
        ...

    def connection(self, names: Names, *, expires_at: datetime) -> dict[str, Any]:
        """Return the sandbox's own address and credentials; secret."""
        ...
