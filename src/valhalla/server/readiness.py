"""The control plane's own checks: which backend is at fault, and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from nats.js.errors import NotFoundError

from valhalla.features.observability.health import rules
from valhalla.kernel.problems import Unavailable
from valhalla.kit.bus import STREAM
from valhalla.kit.checks import Report, Verdict
from valhalla.kit.json import loads
from valhalla.kit.outbox.nats import PREFIX
from valhalla.runtime import Runtime
from valhalla.sandbox.slices.contracts import Probe

_PATIENCE: Final = 3.0
# probes of many balancers cost the backends one look a second
_FRESH: Final = 1.0
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
    """Adds the checks of a runtime to those that its features bring, and reports."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.checks = runtime.features.health.checks
        runtime.features.health.heard = lambda subject: _last(runtime, subject)
        for part in runtime.backends:
            self._add(part.name, _probing(part.ping), critical=True, cache=_FRESH)
        self._add("changes", lambda: _changes(runtime))
        self._add("heartbeats", lambda: _heartbeats(runtime))
        self._add("reaper", lambda: Verdict(runtime.reaper.last_error is None, runtime.reaper.last_error))
        if runtime.sandboxes.filler.enabled:
            self._add("pool", lambda: _pool(runtime))
        self._add("disk", lambda: _disk(runtime.settings.data_dir))

    def _add(
        self, name: str, look: Callable[[], Verdict | Awaitable[Verdict]], *, critical: bool = False, cache: float = 0.0
    ) -> None:
        async def check() -> Verdict:
            # on the loop, where what is looked at lives; none of the plain looks takes time
            found = look()
            return found if isinstance(found, Verdict) else await found

        self.checks.register(
            name, check, critical=critical, timeout=_PATIENCE, cache=cache, help=_HELP[name], replaces=True
        )

    async def report(self, *, only: Collection[str] | None = None, exclude: Collection[str] = ()) -> Report:
        """Ask the checks side by side, each for three seconds at most."""
        return await self.checks.run(only=only, exclude=exclude)

    async def document(self, *, exclude: Collection[str] = ()) -> dict[str, Any]:
        """Return ``{status, checks, findings}``."""
        found = rules.document(await self.report(exclude=exclude))
        # what a backend does not enforce; a reason to look, not to stop
        return {**found, "findings": list(self._runtime.findings)}


async def readiness(runtime: Runtime) -> dict[str, Any]:
    """Check a runtime once; who asks often keeps a ``Readiness``."""
    return await Readiness(runtime).document()


def _probing(ping: Callable[[], Awaitable[Probe]]) -> Callable[[], Awaitable[Verdict]]:
    async def check() -> Verdict:
        probe = await ping()
        return Verdict(probe.ok, probe.reason)

    return check


async def _last(runtime: Runtime, subject: str) -> Mapping[str, Any] | None:
    """Return what the last event of a subject said, read back from NATS."""
    context: Any = await runtime.bus.jetstream()
    try:
        message = await context.get_last_msg(STREAM, PREFIX + subject)
    except NotFoundError:
        return None
    except (OSError, TimeoutError) as error:
        raise Unavailable("nats") from error
    document: Mapping[str, Any] = loads(message.data)
    return document.get("data")


def _disk(data_dir: Path) -> Verdict:
    """Look at the data directory's disk: embedded servers stop writing when it is full."""
    free = shutil.disk_usage(data_dir).free
    return Verdict(free >= _LITTLE, None if free >= _LITTLE else f"{free // 2**20} MB free")


def _changes(runtime: Runtime) -> Verdict:
    feed = runtime.feed.status()
    if feed["stale_for"] is not None:
        return Verdict(False, f"stale for {feed['stale_for']:.0f} s")
    faults = [f"{name}: {detail}" for name, detail in feed["faults"].items()]
    faults += [f"{name}: a view keeps its old value" for name in feed["failed_views"]]
    return Verdict(not faults, "; ".join(faults) or None)


def _heartbeats(runtime: Runtime) -> Verdict:
    heart = runtime.work.heart
    silent = [f"{name} {how}" for name, how in sorted(heart.unhealthy.items())]
    if heart.last_error is not None:
        silent.append(f"nobody can look: {heart.last_error}")
    return Verdict(not silent, "; ".join(silent) or None)


def _pool(runtime: Runtime) -> Verdict:
    filler = runtime.sandboxes.filler
    levels = [f"{name}: {level.ready} of {level.target}" for name, level in filler.pool.items()]
    told = ", ".join(levels + list(filler.refused.values()))
    return Verdict(filler.last_error is None, filler.last_error or told or None)
