"""What senders are made of: connections, children and templates, shared by all channels of a process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from valhalla.features.data.notifications.contracts import Channel
from valhalla.features.data.notifications.rendering import Renderer
from valhalla.features.data.notifications.sealing import sealer
from valhalla.features.data.notifications.senders import Prepared, Sender
from valhalla.kernel.clock import Clock
from valhalla.kit.cellkey import CellKey
from valhalla.kit.children import Children
from valhalla.kit.outgoing_guard import Reach

if TYPE_CHECKING:
    from valhalla.kit.outgoing_guard.poster import Poster

_MEMORY: Final = 2**30
# so many services may hang before others wait for them
_CHATS: Final = 3
_TRUSTS: Final = 64


class Outfit:
    """Makes senders. Nothing is connected, and no library loaded, before the first channel of its kind sends."""

    def __init__(
        self,
        cell: CellKey,
        reach: Reach,
        renderer: Renderer,
        *,
        clock: Clock,
        authorities: str | None = None,
        external_url: Callable[[], str] = lambda: "",
    ) -> None:
        """``reach`` is where messages may go; ``external_url`` is ours, as receivers of alerts are told.

        ``authorities`` (PEM) sign servers' certificates besides the public ones, whatever the channel.
        """
        self._cell = cell
        self.reach = reach
        self._sealer = sealer(cell)
        self._renderer = renderer
        self._clock = clock
        self._external_url = external_url
        self._authorities = authorities
        # by whom they trust: a connection that one channel accepted is no other's
        self._posters: dict[str | None, Poster] = {}
        # the modules of senders are loaded on demand, and so is what they need
        self.chat = Children("valhalla.kit.children.apprise", memory=_MEMORY, most=_CHATS)

    def sender(self, channel: Channel) -> Sender:
        """Return what sends to a channel as it is now.

        Raises:
            Misconfigured: its secrets cannot be opened.
            TargetRefused: its URL may not be sent to any more.
        """
        prepared = Prepared(channel, self._sealer.open(channel.name, channel.sealed_secrets))
        match channel.kind:
            case "webhook":
                from valhalla.features.data.notifications.senders.webhook import WebhookSender

                return WebhookSender(
                    prepared,
                    self._post(None if channel.webhook is None else channel.webhook.authorities),
                    self._renderer,
                    self._cell,
                    now=self._clock.now,
                    external_url=self._external_url(),
                )
            case "email":
                from valhalla.features.data.notifications.senders.mail import MailSender

                return MailSender(
                    prepared, self.reach, self._renderer, now=self._clock.now, authorities=self._authorities
                )
            case "apprise":
                from valhalla.features.data.notifications.senders.chat import ChatSender

                return ChatSender(prepared, self.chat, self.reach, self._renderer)

    async def close(self) -> None:
        """Close connections, end children."""
        for poster in self._posters.values():
            poster.close()
        await self.chat.close()
        await self._renderer.close()

    def _post(self, authorities: str | None) -> Poster:
        if authorities not in self._posters:
            from valhalla.kit.outgoing_guard import trust
            from valhalla.kit.outgoing_guard.poster import Poster

            if len(self._posters) >= _TRUSTS:
                # whose sender is still at it connects anew
                self._posters.pop(next(iter(self._posters))).close()
            make = partial(trust.context, self._authorities, authorities)
            self._posters[authorities] = Poster(self.reach, context=make)
        return self._posters[authorities]
