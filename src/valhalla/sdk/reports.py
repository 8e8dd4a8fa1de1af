"""What the control plane says about itself: keys, ledger, readiness, the reaper's work."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from valhalla.sdk.access import Model


class Check(Model, frozen=True, kw_only=True):
    """One part's health: ``reason`` says what is wrong and ``help`` what to do."""

    ok: bool
    latency_ms: float | None = None
    reason: str | None = None
    help: str | None = None


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
    role: str | None = None
    networks: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    environment: str = ""
    active: bool = True
    prefix: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    rotated_at: datetime | None = None
    overlap_until: datetime | None = None
    last_used_at: datetime | None = None
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


class Snapshot(Model, frozen=True, kw_only=True):
    """A template that was a sandbox; ``sandbox`` is that one's id, ``size`` the bytes of its rows."""

    name: str
    owner: str
    sandbox: str = ""
    template: str = ""
    isolation: str = "schema"
    made_by: str = ""
    made_at: datetime | None = None
    version: str = ""
    tables: int = 0
    rows: int = 0
    size: int = 0


class Template(Model, frozen=True, kw_only=True):
    """What a sandbox can be made from: ``fixed`` (built in, or the operator's) or a ``snapshot``."""

    name: str
    kind: str = "fixed"
    snapshot: Snapshot | None = None


class Templates(Model, frozen=True, kw_only=True):
    """Every template, by name."""

    items: tuple[Template, ...] = ()


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


class SignedCheckpoint(Model, frozen=True, kw_only=True):
    """How the ledger's chain stood; ``note`` is the same as signed text."""

    size: int
    hash: str
    note: str
    sealed_at: datetime | None = None


class Checkpoints(Model, frozen=True, kw_only=True):
    """Checkpoints, newest first, with the name and the public key that they are signed by."""

    origin: str
    public_key: str
    items: tuple[SignedCheckpoint, ...] = ()
    next: str | None = None


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
    arenas_dropped: tuple[str, ...] = ()
    over_quota: dict[str, str] = {}
