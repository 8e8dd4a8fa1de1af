"""Whether the control plane can do its work now, and if not, which backend is at fault and what to do."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from valhalla.runtime import Runtime
from valhalla.sandbox.slices.contracts import Probe

_PATIENCE: Final = 3.0
_LITTLE: Final = 64 * 2**20
_HELP: Final = {
    "postgres": "Check that PostgreSQL runs and accepts connections; embedded: see logs/postgres.log.",
    "valkey": "Check that Valkey runs and its admin credentials are right; embedded: see logs/valkey.log.",
    "nats": "Check that the NATS server runs in operator mode with these credentials; embedded: see logs/nats.log.",
    "sqlite": "Check that the directory of SQLite slices (sqlite_dir) can be written; nothing else needs it.",
    "changes": "The change feed has lost its connection; it catches up by itself when Postgres is back.",
    "pool": "Creations build in line, which takes longer; the filler tries again by itself.",
    "disk": "The disk of the data directory is nearly full: free some space; what failed can be repeated then.",
    "heartbeats": "What is named does not say that it is alive: look at its log, or start it again.",
    "reaper": "The reaper's last run failed; the reason is in 'reason'. It tries again by itself.",
}


class Readiness:
    """Checks every backend. One that hangs is asked once, however often somebody wants to know."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._asking: dict[str, asyncio.Task[Probe]] = {}

    async def document(self) -> dict[str, Any]:
        """Return ``{status, checks, findings}``; all checks run concurrently, each bounded to three seconds."""
        runtime = self._runtime
        parts = list(runtime.backends)
        probes = await asyncio.gather(*(self._ask(part.name, part.ping) for part in parts))
        checks = {part.name: _document(part.name, probe) for part, probe in zip(parts, probes, strict=True)}
        essential = all(check["ok"] for check in checks.values())
        reaper = runtime.reaper.last_error
        checks["changes"] = _document("changes", _changes(runtime))
        checks["heartbeats"] = _document("heartbeats", _heartbeats(runtime))
        checks["reaper"] = _document("reaper", Probe(reaper is None, 0.0, reaper))
        filler = runtime.sandboxes.filler
        if filler.enabled:
            full = ", ".join(
                [f"{name}: {level.ready} of {level.target}" for name, level in filler.pool.items()]
                + list(filler.refused.values())
            )
            checks["pool"] = _document("pool", Probe(filler.last_error is None, 0.0, filler.last_error or full or None))
        checks["disk"] = _document("disk", _disk(runtime.settings.data_dir))
        return {
            "status": "ready" if essential else "not-ready",
            "checks": checks,
            # what a backend does not enforce; a reason to look, not to stop
            "findings": list(runtime.findings),
        }

    async def _ask(self, name: str, ping: Callable[[], Coroutine[Any, Any, Probe]]) -> Probe:
        task = self._asking.get(name)
        if task is None or task.done():
            task = self._asking[name] = asyncio.create_task(ping())
        # not cancelled when it takes too long: giving a connection back would be waited for as well
        await asyncio.wait({task}, timeout=_PATIENCE)
        if not task.done():
            return Probe(False, _PATIENCE * 1000, f"no answer within {_PATIENCE:g} s")
        error = task.exception()
        # a check that breaks is a check that failed
        return task.result() if error is None else Probe(False, 0.0, type(error).__name__)


async def readiness(runtime: Runtime) -> dict[str, Any]:
    """Check a runtime once; who asks often keeps a ``Readiness``."""
    return await Readiness(runtime).document()


def _disk(data_dir: Path) -> Probe:
    """Look at the data directory's disk: embedded servers stop writing when it is full."""
    free = shutil.disk_usage(data_dir).free
    return Probe(free >= _LITTLE, 0.0, None if free >= _LITTLE else f"{free // 2**20} MB free")


def _changes(runtime: Runtime) -> Probe:
    feed = runtime.feed.status()
    if feed["stale_for"] is not None:
        return Probe(False, 0.0, f"stale for {feed['stale_for']:.0f} s")
    faults = [f"{name}: {detail}" for name, detail in feed["faults"].items()]
    faults += [f"{name}: a view keeps its old value" for name in feed["failed_views"]]
    return Probe(not faults, 0.0, "; ".join(faults) or None)


def _heartbeats(runtime: Runtime) -> Probe:
    heart = runtime.work.heart
    silent = [f"{name} {how}" for name, how in sorted(heart.unhealthy.items())]
    if heart.last_error is not None:
        silent.append(f"nobody can look: {heart.last_error}")
    return Probe(not silent, 0.0, "; ".join(silent) or None)


def _document(name: str, probe: Probe) -> dict[str, Any]:
    return {
        "ok": probe.ok,
        "latency_ms": probe.latency_ms,
        "reason": probe.reason,
        "help": None if probe.ok else _HELP[name],
    }
