"""What a sandbox may do on the NATS server, as the members of its account's and its user's JWT. Pure."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from valhalla.kit.natsauth import KeyPair, activation_jwt, decode_jwt
from valhalla.sandbox.slices.contracts import Names

FOREVER: Final = 253_402_300_799
"""The last second of the year 9999: a revocation until then also covers a clock that runs ahead."""

_JETSTREAM: Final = ("$JS.API.>", "$JS.ACK.>", "$JS.FC.>")
_STORES: Final = ("$KV.>", "$O.>")
_LANE: Final = "ev.p.>"
# what a sandbox reads its lane by: subject in the control plane's account, subject in the sandbox's own, kind
_IMPORTED: Final[Sequence[tuple[str, str, Literal["stream", "service"]]]] = (
    # production's code hears its sandbox's lane where it heard production's
    ("ev.s.{id}.>", _LANE, "stream"),
    ("$JS.API.CONSUMER.MSG.NEXT.VH_EV.s-{id}", "ev.api.CONSUMER.MSG.NEXT.VH_EV.s-{id}", "service"),
    ("$JS.API.CONSUMER.INFO.VH_EV.s-{id}", "ev.api.CONSUMER.INFO.VH_EV.s-{id}", "service"),
    ("$JS.ACK.VH_EV.s-{id}.>", "$JS.ACK.VH_EV.s-{id}.>", "service"),
)


@dataclass(frozen=True, slots=True)
class NatsLimits:
    """What one sandbox may use; the server enforces all of it. Sizes in bytes, -1 is no limit."""

    connections: int = 10
    subscriptions: int = 1000
    payload: int = 1024 * 1024
    memory: int = 16 * 1024 * 1024
    disk: int = 64 * 1024 * 1024
    streams: int = 10
    consumers: int = 50

    def claims(self, *, connections: int | None = None) -> Mapping[str, int | bool]:
        """Return them as an account's JWT has them; leaf nodes and exports are absent: 0."""
        return {
            "conn": self.connections if connections is None else connections,
            "subs": self.subscriptions,
            "payload": self.payload,
            "data": -1,
            "mem_storage": self.memory,
            "disk_storage": self.disk,
            "streams": self.streams,
            "consumer": self.consumers,
            "disallow_bearer": True,
            "imports": len(_IMPORTED),
        }


def room_for(limits: NatsLimits, memory: int, disk: int) -> int:
    """Return how many accounts with these limits a server outside a cluster gives JetStream to.

    It sets an account's limits aside in full when its first client comes (``sufficientResources`` in nats-server's
    jetstream.go), and leaves the account without JetStream when its own are used up.
    """
    pairs = ((limits.memory, memory), (limits.disk, disk))
    return min((has // needs for needs, has in pairs if needs > 0), default=sys.maxsize)


def lane_imports(names: Names, account: str, control: KeyPair) -> list[dict[str, str]]:
    """Return the imports of a sandbox's account: its own lane of live events, and nobody else's.

    ``account`` is the sandbox's public key; ``control`` has the stream and signs the leave for each.
    """
    return [
        {
            "name": "lane",
            "account": control.public,
            "subject": subject.format(id=names.id),
            "local_subject": local.format(id=names.id),
            "type": kind,
            "token": activation_jwt(control, account, subject.format(id=names.id), kind),
        }
        for subject, local, kind in _IMPORTED
    ]


def read_names(pairs: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """Return the names that accounts have in their JWTs, by public key."""
    names: dict[str, str] = {}
    for account, token in pairs:
        # one that ended between the listing and the look-up has no token
        with contextlib.suppress(ValueError):
            names[account] = str(decode_jwt(token or "").get("name", ""))
    return names


def may_publish(names: Names) -> list[str]:
    """Return the subjects a sandbox's user may publish to, or name in an API request."""
    lane = [local.format(id=names.id) for _, local, _ in _IMPORTED if local.startswith("ev.api.")]
    return [f"{names.subject_prefix}>", f"{names.inbox_prefix}.>", *_JETSTREAM, *_STORES, *lane]


def may_subscribe(names: Names) -> list[str]:
    """Return the subjects a sandbox's user may subscribe to."""
    return [f"{names.subject_prefix}>", f"{names.inbox_prefix}.>", *_STORES, _LANE]
