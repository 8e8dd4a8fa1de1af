"""Webhooks: signed as Standard Webhooks 1.0 has it, to addresses that were checked, without redirects."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from valhalla.features.data.notifications import payloads, rules
from valhalla.features.data.notifications.contracts import Delivery
from valhalla.features.data.notifications.rendering import Renderer
from valhalla.features.data.notifications.senders.contracts import MOST_EXCERPT, Prepared, Result
from valhalla.features.data.notifications.signing import Signer, signing_key
from valhalla.kit import redact
from valhalla.kit.cellkey import CellKey
from valhalla.kit.outgoing_guard import TargetRefused, trust
from valhalla.kit.outgoing_guard.poster import BadAnswer, Poster, Target
from valhalla.kit.retry_after import seconds_of
from valhalla.version import VERSION

_UNFIT: Final = re.compile(r"[^\x20-\x7e]")


def seed(cell: CellKey, channel: str) -> bytes:
    """Return the secret of a channel's ed25519 key: it derives from the cell key, so it is nowhere stored."""
    return cell.derive("notifications.ed25519", channel)


class WebhookSender:
    """Sends to one webhook."""

    def __init__(
        self,
        prepared: Prepared,
        poster: Poster,
        renderer: Renderer,
        cell: CellKey,
        *,
        now: Callable[[], datetime],
        external_url: str,
    ) -> None:
        """Read the target and the keys once.

        Raises:
            TargetRefused: the URL is of another form by now than it was when it was stored.
        """
        channel, secrets = prepared.channel, prepared.secrets
        assert channel.webhook is not None
        assert secrets.url is not None
        self._channel = channel
        self._webhook = channel.webhook
        self._poster = poster
        self._renderer = renderer
        self._now = now
        self._external_url = external_url
        self._target = Target.of(secrets.url, poster.reach)
        keys = [signing_key(seed(cell, channel.name))] if "v1a" in channel.webhook.signatures else []
        texts = secrets.keys if "v1" in channel.webhook.signatures else ()
        self._signer = Signer.of(texts, keys)
        self._newest = Signer.of(texts[:1], keys)
        self._old_until = secrets.old_until
        lines = [f"{name}: {value}" for name, value in secrets.headers.items()]
        lines += [f"Content-Type: {channel.webhook.content_type}", f"User-Agent: Valhalla/{VERSION}"]
        self._headers = "".join(f"{line}\r\n" for line in lines).encode("latin-1")

    async def send(self, delivery: Delivery) -> Result:
        """Post once; 2xx is delivered, 410 is gone, everything else failed, a redirect too."""
        now = self._now()
        body = await self._body(delivery)
        stamp = int(now.timestamp())
        signer = self._newest if self._old_until is not None and now >= self._old_until else self._signer
        own = (
            f"webhook-id: {delivery.id}\r\nwebhook-timestamp: {stamp}\r\n"
            f"webhook-signature: {signer.sign(delivery.id, stamp, body)}\r\n"
        )
        if delivery.correlation_id is not None:
            own += f"X-Correlation-ID: {_UNFIT.sub('', delivery.correlation_id)[:128]}\r\n"
        try:
            answer = await self._poster.post(
                self._target, own.encode("latin-1") + self._headers, body, seconds=self._channel.timeout
            )
        except TimeoutError:
            return Result("failed", error=f"no answer within {self._channel.timeout:g} s")
        except TargetRefused as problem:
            return Result("failed", error=problem.detail)
        except BadAnswer as error:
            return Result("failed", error=str(error))
        except OSError as error:
            if trust.is_untrusted(error):
                return Result("failed", error=f"the receiver {trust.UNTRUSTED}")
            return Result("failed", error=f"no connection: {type(error).__name__}")
        outcome = rules.outcome_of(answer.status)
        return Result(
            outcome,
            answer.status,
            None if outcome == "delivered" else _why(answer.status),
            excerpt(answer.excerpt),
            None if outcome == "delivered" else seconds_of(answer.headers.get("retry-after", ""), now),
        )

    async def _body(self, delivery: Delivery) -> bytes:
        if self._webhook.form == "alertmanager":
            return payloads.alertmanager(delivery, self._external_url)
        if self._webhook.form == "template":
            rendered = await self._renderer.render(delivery, self._channel.template)
            if rendered is not None:
                return rendered.body.encode()
        return payloads.standard(delivery)


def excerpt(body: bytes) -> str | None:
    """Return the beginning of an answer as text that may be kept and shown."""
    if not body:
        return None
    return redact.text(body.decode("utf-8", "replace"), limit=MOST_EXCERPT)


def _why(status: int) -> str:
    if 300 <= status < 400:
        return f"HTTP {status}: redirects are not followed"
    return f"HTTP {status}"
