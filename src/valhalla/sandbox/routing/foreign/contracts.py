"""The frozen values of event sources that are not ours."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Way = Literal["mapping", "router"]
"""How claimed events get onto their lanes: the NATS server changes their subject, or ``valhalla router`` moves all."""

REGISTRY: Final = "event_sources"
MAPPED: Final = 100
"""How many keys of one account are mapped at most: the server goes through all of them for every message of it."""
PARTITIONS: Final = 16
"""Into how many parts a routed source is cut, by key; so many routers can share it."""


class EventSource(msgspec.Struct, frozen=True):
    """Programs that publish ``subject``, such as ``orders.{key}.{type}``; ``*`` is a token that nobody needs to know.

    Its keys are claimed as routes of ``kind``, so its events have that kind's source on their lanes. ``account`` is a
    word for an account that the control plane makes, or the public key of one that exists. ``stream`` is the stream of
    that account in which a ``router`` finds the events; without one it makes a stream over ``subject``.
    """

    name: str
    subject: str
    kind: str
    account: str = "apps"
    way: Way = "mapping"
    stream: str | None = None
    enabled: bool = True
    description: str | None = None
