"""Webhooks on their way into the stream: accepted when they are stored there, and not before."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Misconfigured
from valhalla.kit.changes import Feed, Snapshot
from valhalla.kit.log import get_logger
from valhalla.kit.registry import Registry
from valhalla.sandbox.routing import envelope
from valhalla.sandbox.routing.errors import Fenced
from valhalla.sandbox.routing.http.webhooks import rules, signatures
from valhalla.sandbox.routing.http.webhooks.contracts import Posted, Receiver
from valhalla.sandbox.routing.http.webhooks.errors import (
    KeyMissing,
    ReceiverNotFound,
    SignatureRefused,
    WebhookTooLarge,
)
from valhalla.sandbox.routing.http.webhooks.masking import Masking
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.items import Stored

RECEIVERS: Final = "webhook_receivers"
# senders give up after 5 to 30 seconds, and send again
_PATIENCE: Final = 4.0
_log = get_logger("sandbox.routing.webhooks")


@dataclass(frozen=True, slots=True)
class _Opened:
    """A receiver with its secrets. They are None when they cannot be read here: it takes nothing then."""

    receiver: Receiver
    secrets: tuple[str, ...] | None


class Receiving:
    """Takes webhooks for every receiver of the snapshot; ``ingress`` returns one that has joined.

    ``patience`` in seconds: how long one may take to be stored.
    """

    def __init__(
        self,
        registry: Registry[Receiver],
        feed: Feed,
        masking: Masking,
        ingress: Callable[[], Awaitable[Ingress]],
        *,
        clock: Clock,
        patience: float = _PATIENCE,
    ) -> None:
        self._masking = masking
        self._ingress = ingress
        self._clock = clock
        self._patience = patience
        self._opened = feed.view(registry.name, self._open)
        self.outcomes: Counter[str] = Counter()
        """How many were stored, were stored before, or refused, and why."""

    def limit(self, name: str) -> int:
        """Return how many bytes a receiver takes.

        Raises:
            ReceiverNotFound: there is none, or it is disabled.
        """
        return self._find(name).receiver.max_bytes

    async def receive(self, name: str, posted: Posted) -> tuple[str, Stored]:
        """Store a webhook; return the id of its event, and where it is.

        Raises:
            ReceiverNotFound: there is no such receiver, or it is disabled.
            WebhookTooLarge, SignatureRefused, KeyMissing, EventInvalid: it is not taken.
            Fenced, Unavailable: it cannot be stored now; its sender has to send it again.
        """
        found = self._find(name)
        receiver = found.receiver
        try:
            if len(posted.body) > receiver.max_bytes:
                raise WebhookTooLarge(f"the limit is {receiver.max_bytes} bytes")
            # before anything of it is read: what is not signed is not worth parsing
            signatures.verify(receiver, found.secrets or (), posted, self._clock.now().timestamp())
            event = envelope.check(rules.event_of(receiver, posted))
        except (WebhookTooLarge, SignatureRefused, KeyMissing) as problem:
            self.outcomes[problem.code] += 1
            raise
        ingress = await self._ingress()
        try:
            async with asyncio.timeout(self._patience):
                stored = await ingress.publish(ingress.traced(event))
        except TimeoutError as error:
            self.outcomes["not-stored"] += 1
            raise Fenced("the webhook is not stored yet; sending it again stores it once") from error
        self.outcomes["duplicate" if stored.duplicate else "stored"] += 1
        return event.id, stored

    def _find(self, name: str) -> _Opened:
        found = self._opened.value.get(name)
        if found is None or not found.receiver.enabled:
            raise ReceiverNotFound(f"there is no receiver {name[:64]!a}")
        return found

    def _open(self, snapshot: Snapshot[Receiver]) -> dict[str, _Opened]:
        opened: dict[str, _Opened] = {}
        for name, record in snapshot.records.items():
            secrets: tuple[str, ...] | None = None
            try:
                secrets = self._masking.secrets(record.value)
            except Misconfigured as problem:
                _log.warning("a receiver of webhooks takes nothing", receiver=name, error=problem.detail)
            opened[name] = _Opened(record.value, secrets)
        return opened
