"""Whether the control plane can do its work now, and if not, which backend is at fault and what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final

from valhalla.runtime import Runtime
from valhalla.sandbox.slices.contracts import Probe

_PATIENCE: Final = 3.0
_HELP: Final = {
    "postgres": "Check that PostgreSQL runs and accepts connections; embedded: see logs/postgres.log.",
    "valkey": "Check that Valkey runs and its admin credentials are right; embedded: see logs/valkey.log.",
    "nats": "Check that the NATS server runs in operator mode with these credentials; embedded: see logs/nats.log.",
    "changes": "The change feed has lost its connection; it catches up by itself when Postgres is back.",
    "reaper": "The reaper's last run failed; the reason is in 'reason'. It tries again by itself.",
}


async def readiness(runtime: Runtime) -> dict[str, Any]:
    """Return ``{status, checks, findings}``; all checks run concurrently, each bounded to three seconds."""
    parts = list(runtime.backends)
    probes = await asyncio.gather(*(_bounded(part.ping()) for part in parts))
    checks = {part.name: _document(part.name, probe) for part, probe in zip(parts, probes, strict=True)}
    checks["changes"] = _document("changes", _changes(runtime))
    checks["reaper"] = _document("reaper", Probe(runtime.reaper.last_error is None, 0.0, runtime.reaper.last_error))
    essential = all(checks[part.name]["ok"] for part in parts)
    return {
        "status": "ready" if essential else "not-ready",
        "checks": checks,
        # what a backend does not enforce; a reason to look, not to stop
        "findings": list(runtime.findings),
    }


def _changes(runtime: Runtime) -> Probe:
    feed = runtime.feed.status()
    if feed["stale_for"] is not None:
        return Probe(False, 0.0, f"stale for {feed['stale_for']:.0f} s")
    faults = [f"{name}: {detail}" for name, detail in feed["faults"].items()]
    faults += [f"{name}: a view keeps its old value" for name in feed["failed_views"]]
    return Probe(not faults, 0.0, "; ".join(faults) or None)


async def _bounded(ping: Coroutine[Any, Any, Probe]) -> Probe:
    started = time.monotonic()
    try:
        return await asyncio.wait_for(ping, _PATIENCE)
    except TimeoutError:
        reason = f"no answer within {_PATIENCE:g} s"
    except Exception as error:  # noqa: BLE001 - a check that breaks is a check that failed
        reason = type(error).__name__
    return Probe(False, round((time.monotonic() - started) * 1000, 3), reason)


def _document(name: str, probe: Probe) -> dict[str, Any]:
    return {
        "ok": probe.ok,
        "latency_ms": probe.latency_ms,
        "reason": probe.reason,
        "help": None if probe.ok else _HELP[name],
    }
