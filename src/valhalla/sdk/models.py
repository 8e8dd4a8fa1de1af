"""The values that cross the wire. Members that a newer control plane adds are ignored."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all wire values."""


class Route(Model, frozen=True, kw_only=True):
    """Events of ``kind`` with ``key`` go to the sandbox."""

    kind: str
    key: str
    linked_at: datetime | None = None


class PostgresAccess(Model, frozen=True, kw_only=True):
    """The sandbox's own login to Postgres."""

    url: str
    host: str
    port: int
    database: str
    user: str
    password: str
    schema: str

    def __repr__(self) -> str:
        return f"PostgresAccess(user={self.user!r}, schema={self.schema!r}, password=***)"


class ValkeyAccess(Model, frozen=True, kw_only=True):
    """The sandbox's own Valkey user; every key and channel starts with ``prefix``."""

    url: str
    host: str
    port: int
    user: str
    password: str
    prefix: str

    def __repr__(self) -> str:
        return f"ValkeyAccess(user={self.user!r}, prefix={self.prefix!r}, password=***)"


class NatsAccess(Model, frozen=True, kw_only=True):
    """The sandbox's own NATS account; ``creds`` is the text of a credentials file."""

    url: str
    creds: str
    prefix: str
    inbox_prefix: str = ""

    def __repr__(self) -> str:
        return f"NatsAccess(url={self.url!r}, prefix={self.prefix!r}, creds=***)"


class Connection(Model, frozen=True, kw_only=True):
    """How to enter a sandbox. ``env`` lacks only ``NATS_CREDS``, which is a file on the client's side."""

    postgres: PostgresAccess | None = None
    valkey: ValkeyAccess | None = None
    nats: NatsAccess | None = None
    env: dict[str, str]

    def __repr__(self) -> str:
        return f"Connection(postgres={self.postgres!r}, valkey={self.valkey!r}, nats={self.nats!r}, env=***)"


class Sandbox(Model, frozen=True, kw_only=True):
    """A sandbox as the control plane knows it. ``connection`` comes with the creation only."""

    id: str
    name: str
    owner: str
    status: str
    template: str = ""
    description: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    routes: tuple[Route, ...] = ()
    created_at: datetime | None = None
    expires_at: datetime | None = None
    destroyed_at: datetime | None = None
    last_activity_at: datetime | None = None
    database: str | None = None
    schema: str | None = None
    created_by: str | None = None
    last_error: str | None = None
    duration_ms: float | None = None
    connection: Connection | None = None


class Extension(Sandbox, frozen=True, kw_only=True):
    """The sandbox after an extension; ``capped`` when the maximum allowed less than was asked."""

    capped: bool = False
    max_expires_at: datetime | None = None


class Draft(Model, frozen=True, kw_only=True):
    """What a new sandbox shall be; whatever is absent the control plane decides."""

    name: str | None = None
    owner: str | None = None
    template: str | None = None
    ttl: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    routes: tuple[tuple[str, str], ...] = ()

    def body(self) -> dict[str, object]:
        """Return the members that were given, as the control plane reads them."""
        routes = [{"kind": kind, "key": key} for kind, key in self.routes]
        members = msgspec.structs.asdict(self) | {"routes": routes}
        return {name: value for name, value in members.items() if value not in (None, (), {}, [])}


class DryRun(Model, frozen=True, kw_only=True):
    """What a creation would make. Nothing was made."""

    dry_run: bool = True
    would: dict[str, Any] = {}


class Check(Model, frozen=True, kw_only=True):
    """One part's health: ``reason`` says what is wrong and ``help`` what to do."""

    ok: bool
    latency_ms: float | None = None
    reason: str | None = None
    help: str | None = None


class Health(Model, frozen=True, kw_only=True):
    """A sandbox's health: ``healthy``, ``degraded`` or ``unhealthy``, with the reasons."""

    id: str
    name: str
    status: str
    health: str
    reasons: tuple[str, ...] = ()
    checks: dict[str, Check] = {}
    expires_at: datetime | None = None


class Page(Model, Generic[T], frozen=True, kw_only=True):
    """One page of a list; ``next`` is the cursor of the following one."""

    items: tuple[T, ...]
    next: str | None = None
    total: int | None = None


class AuditEntry(Model, frozen=True, kw_only=True):
    """One row of the ledger."""

    at: datetime
    actor: str
    action: str
    details: dict[str, Any] | None = None
    seq: int | None = None
    id: str | int | None = None
    kind: str | None = None
    subject: str | None = None


class ApiKey(Model, frozen=True, kw_only=True):
    """A client of the control plane; ``key`` is told once, when it is made."""

    id: str
    owner: str
    name: str | None = None
    scopes: tuple[str, ...] = ()
    prefix: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    key: str | None = None

    def __repr__(self) -> str:
        return f"ApiKey(id={self.id!r}, owner={self.owner!r}, scopes={self.scopes!r})"


class Readiness(Model, frozen=True, kw_only=True):
    """Whether the control plane can do its work, part by part."""

    status: str
    checks: dict[str, Check] = {}

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.status == "ready"


class Fault(Model, frozen=True, kw_only=True):
    """The first place where the ledger is not what was written."""

    kind: str
    seq: int | None = None
    entry: Any = None
    detail: str = ""


class LedgerReport(Model, frozen=True, kw_only=True):
    """The outcome of a verification of the ledger."""

    ok: bool
    entries: int = 0
    sealed: int = 0
    unsealed: int = 0
    checkpoints: int = 0
    fault: Fault | None = None


class Orphan(Model, frozen=True, kw_only=True):
    """Something in a backend that belongs to no living sandbox."""

    slice: str
    kind: str
    name: str


class ReapReport(Model, frozen=True, kw_only=True):
    """What one pass of the reaper did, or would do."""

    expired: tuple[Any, ...] = ()
    destroyed: tuple[Any, ...] = ()
    resumed: tuple[Any, ...] = ()
    failed: dict[str, str] = {}
    orphans: tuple[Orphan, ...] = ()
    removed: tuple[Orphan, ...] = ()
