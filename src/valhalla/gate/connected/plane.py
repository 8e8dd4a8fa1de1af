"""A control plane as the hooks of a gate: keys, limits, maintenance, blocklist, decided by what it told last."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from valhalla.features.operations.clients import networks
from valhalla.features.operations.clients import rules as keys
from valhalla.features.operations.clients.errors import AddressRefused
from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.limits.rules import is_free
from valhalla.features.security.blocklist.whence import Whence
from valhalla.gate.connected.blocking import Blocking
from valhalla.gate.connected.enforced import Lack
from valhalla.gate.connected.follower import Follower
from valhalla.gate.connected.held import Held
from valhalla.gate.connected.reporting import Reporter
from valhalla.gate.contracts import Asking, Header, Taken
from valhalla.gate.errors import PlaneUnknown
from valhalla.gate.quotas import Fleet, Quotas
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Misconfigured, Problem

if TYPE_CHECKING:
    import httpx

_NOTHING: Final = Taken(())


@dataclass(frozen=True, slots=True)
class Following:
    """How well a control plane is followed; ``age`` in seconds since it last said that ``revision`` is what holds."""

    revision: str | None
    age: float
    error: str | None
    blocklist: int | None = None
    """The revision of the blocklist; None until it was read whole once."""
    lacks: Sequence[Lack] = ()
    """Which rules of the blocklist are not enforced here, and why."""


class Plane:
    """Follows a control plane. Until it has told what holds nobody passes; while it is away, what it told holds on."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        patience: float = 5.0,
        max_age: float | None = None,
        valkey_url: str | None = None,
        blocklist: bool = True,
        country_header: str | None = None,
        asn_header: str | None = None,
        name: str | None = None,
        report: bool = True,
        clock: Clock | None = None,
        transport: Callable[[], httpx.BaseTransport] | None = None,
    ) -> None:
        """Nothing is asked yet.

        Args:
            url: Of the control plane; else ``VALHALLA_URL``.
            key: With the scope ``snapshot:read``; else ``VALHALLA_API_KEY``.
            patience: Seconds that the application's start waits for the first answer.
            max_age: Seconds without an answer after which nobody passes; ``None``: what was told holds on.
            valkey_url: Where rules of the fleet are counted; without it by each process.
            blocklist: Whether its blocklist is enforced here, too (a thread and the rules in memory).
            country_header: In which header this application's trusted proxies say the country of clients, for rules of
                the blocklist; else the one of the control plane.
            asn_header: Likewise, the network's operator.
            name: What the control plane's list of applications calls this one; else its key's owner.
            report: Whether the control plane is told how well it is followed and which rules are not enforced here.
            clock: Another clock, for tests.
            transport: Makes another transport of httpx, for tests and for certificates of one's own.

        Raises:
            Misconfigured: address or key is missing.
        """
        found = url or os.environ.get("VALHALLA_URL")
        if not found or not found.startswith(("http://", "https://")):
            raise Misconfigured("the control plane has no http:// or https:// address", setting="VALHALLA_URL")
        secret = key or os.environ.get("VALHALLA_API_KEY")
        if not secret or not (secret.isascii() and secret.isprintable()):
            raise Misconfigured("a key with the scope 'snapshot:read' is needed", setting="VALHALLA_API_KEY")
        self._url, self._key = found.rstrip("/"), secret
        self._patience = patience
        self._max_age = max_age
        self._blocks = blocklist
        self._whence = Whence(country_header, asn_header)
        self._name, self._reports = name, report
        self._clock = clock or Clock()
        self._transport = transport
        self._follower: Follower | None = None
        self._blocking: Blocking | None = None
        self._reporter: Reporter | None = None
        self._pid = 0
        self.quotas = Quotas(self._rules, fleet=None if valkey_url is None else Fleet(valkey_url))

    def __repr__(self) -> str:
        return f"Plane({self._url!r})"

    def authenticate(self, key: str, address: str | None) -> Principal | None:
        """Return whose key it is, None for nobody's.

        Raises:
            PlaneUnknown: nobody can say.
            AddressRefused: the key may not be used from this address.
        """
        held = self._held()
        if held is None:
            raise PlaneUnknown(retry_after=2)
        lease = keys.lease_of(key, held.leases, held.environment, self._clock.now())
        if lease is None:
            return None
        if lease.networks and not networks.holds(lease.networks, address):
            raise AddressRefused
        return lease.principal

    @property
    def notices(self) -> Sequence[Header]:
        """The header that announces maintenance; usually none."""
        held = self._held()
        return () if held is None else held.closing.notices

    def refuse(self, method: str, path: str, query: bytes, principal: Principal | None) -> Problem | None:
        """Return why a request may not pass; while nothing is known probes alone do."""
        del query
        held = self._held()
        if held is None:
            return None if is_free(path) else PlaneUnknown(retry_after=2)
        return held.closing.refuse(method, principal)

    def take(self, asking: Asking) -> Taken | Awaitable[Taken]:
        """Charge one request to every limit that it counts for."""
        if self._held() is None:
            return _NOTHING if is_free(asking.path) else Taken((), PlaneUnknown(retry_after=2))
        return self.quotas.take(asking)

    def verdict(
        self,
        method: str,
        path: str,
        address: str | None,
        principal: Principal | None,
        headers: Mapping[bytes, bytes],
        *,
        proxied: bool,
    ) -> Problem | None:
        """Return why the blocklist lets a caller not in; until it was read whole once it refuses nobody."""
        self._following()
        blocking = self._blocking
        if blocking is None:
            return None
        return blocking.verdict(method, path, address, principal, headers, proxied=proxied)

    def refusal(self, method: str, path: str, address: str | None, principal: Principal | None) -> Problem | None:
        """Return why the blocklist would refuse such a request, and count nothing."""
        blocking = self._blocking
        return None if blocking is None else blocking.refusal(method, path, address, principal)

    def status(self) -> Following:
        """Say how well the plane is followed, for a readiness check of one's own."""
        follower = self._following()
        revision = None if follower.held is None else follower.held.revision
        blocking = self._blocking
        rules, lacks = (None, ()) if blocking is None else (blocking.revision, blocking.lacks())
        return Following(revision, self._clock.monotonic() - follower.fresh_at, follower.error, rules, lacks)

    def health(self) -> tuple[int, Mapping[str, Any]]:
        """Say it as an answer to a health check, for anybody: not what is lacking, which would be a way in."""
        now = self.status()
        if self._held() is None:
            return 503, {"status": "unavailable", "reason": "the control plane has not told what holds"}
        reason = None
        if now.lacks:
            reason = "not everything is enforced here; the log and the control plane say what"
        elif now.error is not None:
            reason = "the control plane is not followed; what it told last holds"
        return 200, {"status": "ok" if reason is None else "degraded", "reason": reason}

    async def lifespan(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run an application's lifespan, with the first answer before its start as far as patience goes."""
        await self.ready()
        try:
            await app(scope, receive, send)
        finally:
            await self.close()

    async def ready(self) -> bool:
        """Begin to follow, and wait for the first answer as long as patience goes; say whether it came."""
        deadline = self._clock.monotonic() + self._patience
        known = await asyncio.to_thread(self._following().loaded.wait, self._patience)
        if known and self._blocking is not None:
            left = max(0.0, deadline - self._clock.monotonic())
            await asyncio.to_thread(self._blocking.loaded.wait, left)
        return known

    async def close(self) -> None:
        """Stop following."""
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.stop()
        for part in (self._blocking, self._reporter):
            if part is not None:
                part.stop()
        await self.quotas.close()

    def _held(self) -> Held | None:
        follower = self._following()
        if self._max_age is not None and self._clock.monotonic() - follower.fresh_at > self._max_age:
            return None
        return follower.held

    def _following(self) -> Follower:
        follower = self._follower
        # a thread does not come along when a server forks its workers
        if follower is None or self._pid != os.getpid():
            self._pid = os.getpid()
            held = None if follower is None else follower.held
            follower = Follower(self._url, self._key, held, clock=self._clock, transport=self._transport)
            self._follower = follower
            reporter = self._reporter = Reporter(self._client, self.status, self._name) if self._reports else None
            if self._blocks:
                changed = reporter.wake if reporter is not None else lambda: None
                self._blocking = Blocking(self._client, whence=self._whence, changed=changed)
            if reporter is not None:
                reporter.start()
        return follower

    def _client(self) -> httpx.Client:
        import httpx

        headers = {"Authorization": f"Bearer {self._key}", "User-Agent": "valhalla-gate"}
        transport = None if self._transport is None else self._transport()
        timeout = httpx.Timeout(35.0, connect=5.0)
        return httpx.Client(base_url=self._url, headers=headers, timeout=timeout, transport=transport)

    def _rules(self) -> Sequence[LimitRule]:
        follower: Any = self._follower
        held = None if follower is None else follower.held
        return () if held is None else held.limits
