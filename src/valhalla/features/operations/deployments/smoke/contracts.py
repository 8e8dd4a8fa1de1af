"""The values of smoke tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from sqlalchemy.engine import Connection

from valhalla.kernel.lifecycle import Lifecycle
from valhalla.kernel.principal import Principal

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Op = Literal["exists", "absent", "equals", "contains", "type", "at_least", "at_most", "count"]
Action = Literal["rollback", "disable"]
RunStatus = Literal["queued", "running", "passed", "failed", "lost"]

LIFECYCLE: Final = Lifecycle(
    "smoke run",
    "queued",
    {
        "queued": frozenset({"running", "lost"}),
        "running": frozenset({"passed", "failed", "lost"}),
        "passed": frozenset[str](),
        "failed": frozenset[str](),
        "lost": frozenset[str](),
    },
)

GOVERNED: Final[Mapping[str, str]] = {"flags": "flags:write", "config": "config:write", "rate_limits": "limits:write"}
"""The registries that a failed suite may change, and the scope that whoever declares it must hold."""


REMEDY: Final = "smoke.remedy"
"""The admin action that does what a suite declares for its failure."""


class JsonCheck(msgspec.Struct, frozen=True):
    """What must hold of the values that a path finds in the answer's JSON."""

    path: str
    op: Op = "exists"
    value: Any = None


class Check(msgspec.Struct, frozen=True):
    """One request and what its answer must be. ``timeout`` (of one attempt) and ``pause`` are in seconds."""

    name: str
    path: str
    method: Method = "GET"
    headers: dict[str, str] = {}
    body: Any = None
    status: tuple[int, ...] = (200,)
    expect_headers: dict[str, str] = {}
    jsonpath: tuple[JsonCheck, ...] = ()
    latency_ms: int | None = None
    timeout: float = 10.0
    retries: int = 0
    pause: float = 1.0


class Undo(msgspec.Struct, frozen=True):
    """What a failed run changes once: a registry (or one ``key``) goes back to a revision, or a record is disabled.

    Without ``revision``: to that of when the linked deployment was recorded.
    """

    action: Action
    registry: str
    key: str | None = None
    revision: int | None = None


class Suite(msgspec.Struct, frozen=True):
    """Checks of one target. ``timeout`` in seconds is of the whole run, ``max_body`` in bytes of each answer."""

    name: str
    base_url: str
    checks: tuple[Check, ...]
    concurrency: int = 4
    timeout: float = 120.0
    max_body: int = 1_048_576
    cron: str | None = None
    timezone: str = "UTC"
    on_failure: Undo | None = None
    description: str | None = None


class Attempt(msgspec.Struct, frozen=True):
    """What became of one try of one check; ``last`` if no other follows. A failure is a mapping with ``what``."""

    position: int
    attempt: int
    name: str
    ok: bool
    last: bool
    status: int | None
    latency_ms: float | None
    failures: tuple[Mapping[str, Any], ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a suite as it was declared then (``version`` is the record's)."""

    id: str
    suite: str
    version: int
    declared: Mapping[str, Any]
    base_url: str
    deployment: str | None
    status: RunStatus
    actor: str
    job: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    total: int
    passed: int
    failed: int
    remedy: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; ``None`` is any."""

    suite: str | None = None
    status: RunStatus | None = None
    deployment: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One remedy to execute; ``key`` is the same for the same run, ``run`` is None if somebody asked for it by hand."""

    key: str
    run: str | None
    suite: str
    undo: Undo
    revision: int | None
    actor: str
    reason: str


Remedy = Callable[[Connection, Order], Mapping[str, Any]]
"""Does what an order says, in one transaction, and returns what it did. A ``Problem`` means that it did nothing."""

Guarded = Callable[[Principal, Mapping[str, Any], str, str], Awaitable[Mapping[str, Any]]]
"""Has the admin action ``REMEDY`` executed: by whom, its arguments, why, and its idempotency key; returns its result.

A ``Problem`` says why it was not done.
"""
