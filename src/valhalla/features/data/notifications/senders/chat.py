"""Chat and SMS services by apprise, in a child process that checks every connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from valhalla.features.data.notifications import payloads, rules
from valhalla.features.data.notifications.contracts import Delivery
from valhalla.features.data.notifications.rendering import Renderer
from valhalla.features.data.notifications.senders.contracts import MOST_EXCERPT, Prepared, Result
from valhalla.kernel.alerting import Severity
from valhalla.kit import redact
from valhalla.kit.children import ChildFailed, Children
from valhalla.kit.outgoing_guard import Reach

_TYPES: Final[Mapping[Severity, str]] = {
    "info": "info",
    "warning": "warning",
    "error": "failure",
    "critical": "failure",
}


class ChatSender:
    """Sends to every service of a channel."""

    def __init__(self, prepared: Prepared, child: Children, reach: Reach, renderer: Renderer) -> None:
        self._channel = prepared.channel
        self._urls = prepared.secrets.urls
        self._child = child
        self._networks = [str(network) for network in reach.networks]
        self._renderer = renderer

    async def send(self, delivery: Delivery) -> Result:
        """Send once; when one of several services fails it is told to all of them again."""
        rendered = await self._renderer.render(delivery, self._channel.template)
        title = payloads.subject(delivery) if rendered is None or rendered.subject is None else rendered.subject
        request = {
            "urls": list(self._urls),
            "title": rules.line(title),
            "body": payloads.text(delivery) if rendered is None else rendered.body,
            "type": _TYPES[delivery.severity],
            "networks": self._networks,
        }
        try:
            answer: dict[str, Any] = await self._child.ask(request, seconds=self._channel.timeout)
        except ChildFailed as error:
            return Result("failed", error=f"the service did not answer: {error}")
        if answer.get("unknown"):
            return Result("failed", error="apprise does not know this kind of service")
        failed: list[int] = answer["failed"]
        if not failed:
            return Result("delivered")
        if answer["refused"]:
            return Result("failed", error="the target's address is private and no setting allows it")
        assert self._channel.apprise is not None
        names = ", ".join(self._channel.apprise.services[n] for n in failed)
        return Result("failed", error=f"not taken by {names}", excerpt=redact.text(answer["why"], limit=MOST_EXCERPT))
