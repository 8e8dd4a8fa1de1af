"""A safe place to run risky backend code, and the console that governs it.

>>> with valhalla.Client() as client, client.sandbox(ttl="30m") as sbx:
...     psycopg.connect(sbx.database_url)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from valhalla.blocks.alert_system import AlertSystem
    from valhalla.blocks.sandbox_database_manager import SandboxDatabaseManager
    from valhalla.blocks.sandbox_orchestrator import SandboxOrchestrator
    from valhalla.blocks.sandbox_readiness_checker import SandboxReadinessChecker
    from valhalla.blocks.scheduler_heartbeat import SchedulerHeartbeat
    from valhalla.blocks.structured_logger import StructuredLogger
    from valhalla.blocks.worker_process import WorkerProcess
    from valhalla.gate.connected import Plane
    from valhalla.gate.install import install
    from valhalla.guard.blocks.dry_run_lock import DryRunLock
    from valhalla.guard.blocks.governor_enforcer import GovernorEnforcer
    from valhalla.guard.blocks.idempotency_manager import IdempotencyManager
    from valhalla.guard.blocks.retry_backoff_manager import RetryBackoffManager
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client
    from valhalla.sdk.config import Config
    from valhalla.sdk.errors import ApiProblem, NotRunning, Unreachable, ValhallaError
    from valhalla.sdk.flags import Flags
    from valhalla.sdk.models import Sandbox
    from valhalla.sdk.opened import OpenSandbox

    config: Config
    flags: Flags

__all__ = [
    "AlertSystem",
    "ApiProblem",
    "AsyncClient",
    "Client",
    "DryRunLock",
    "GovernorEnforcer",
    "IdempotencyManager",
    "NotRunning",
    "OpenSandbox",
    "Plane",
    "RetryBackoffManager",
    "Sandbox",
    "SandboxDatabaseManager",
    "SandboxOrchestrator",
    "SandboxReadinessChecker",
    "SchedulerHeartbeat",
    "StructuredLogger",
    "Unreachable",
    "ValhallaError",
    "WorkerProcess",
    "install",
]

_FROM: Final = {
    "AlertSystem": "valhalla.blocks.alert_system",
    "ApiProblem": "valhalla.sdk.errors",
    "AsyncClient": "valhalla.sdk.aclient",
    "Client": "valhalla.sdk.client",
    "DryRunLock": "valhalla.guard.blocks.dry_run_lock",
    "GovernorEnforcer": "valhalla.guard.blocks.governor_enforcer",
    "IdempotencyManager": "valhalla.guard.blocks.idempotency_manager",
    "NotRunning": "valhalla.sdk.errors",
    "OpenSandbox": "valhalla.sdk.opened",
    "Plane": "valhalla.gate.connected",
    "RetryBackoffManager": "valhalla.guard.blocks.retry_backoff_manager",
    "Sandbox": "valhalla.sdk.models",
    "SandboxDatabaseManager": "valhalla.blocks.sandbox_database_manager",
    "SandboxOrchestrator": "valhalla.blocks.sandbox_orchestrator",
    "SandboxReadinessChecker": "valhalla.blocks.sandbox_readiness_checker",
    "SchedulerHeartbeat": "valhalla.blocks.scheduler_heartbeat",
    "StructuredLogger": "valhalla.blocks.structured_logger",
    "Unreachable": "valhalla.sdk.errors",
    "ValhallaError": "valhalla.sdk.errors",
    "install": "valhalla.gate.install",
    "WorkerProcess": "valhalla.blocks.worker_process",
}


def __getattr__(name: str) -> object:
    # every program of the project imports this module: it pays only for what it takes
    if name in ("guard", "sandbox"):
        return import_module(f"valhalla.{name}")
    if name in ("config", "flags"):
        # of the control plane that is found at the first read
        made = globals()[name] = getattr(import_module(f"valhalla.sdk.{name}"), name.capitalize())()
        return made
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_FROM[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
