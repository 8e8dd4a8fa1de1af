"""Whether the control plane can do its work now, and if not, which backend is at fault and what to do."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from valhalla.runtime import Runtime
from valhalla.sandbox.slices.contracts import Probe

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
    stale = runtime.feed.stale_for
    reason = None if stale is None else f"stale for {stale:.0f} s"
    checks["changes"] = _document("changes", Probe(stale is None, 0.0, reason))
    checks["reaper"] = _document("reaper", Probe(runtime.reaper.last_error is None, 0.0, runtime.reaper.last_error))
    essential = all(checks[part.name]["ok"] for part in parts)
    return {
        "status": "ready" if essential else "not-ready",
        "checks": checks,
        # what a backend does not enforce; a reason to look, not to stop
        "findings": list(runtime.findings),
    }


async def _bounded(ping: Any) -> Probe:
    try:
        return await asyncio.wait_for(ping, 3)
    except TimeoutError:
        return Probe(False, 3000.0, "no answer within 3 s")


def _document(name: str, probe: Probe) -> dict[str, Any]:
    return {
        "ok": probe.ok,
        "latency_ms": probe.latency_ms,
        "reason": probe.reason,
        "help": None if probe.ok else _HELP[name],
    }
