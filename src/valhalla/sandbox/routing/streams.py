"""The streams of event routing, in the control plane's own account."""

from __future__ import annotations

from typing import Any, Final

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing.contracts import (
    ADVISORIES_STREAM,
    BEATS_STREAM,
    BOTS_STREAM,
    DEAD_STREAM,
    ROUTES_STREAM,
    STREAM,
    Sizes,
)
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.link import Link

_SECOND: Final = 1_000_000_000
# what is given up by hand: nobody waits for it
_EXISTS: Final = 10058


def configs(sizes: Sizes) -> list[dict[str, Any]]:
    """Return what each stream is made with."""
    file = {"storage": "file", "retention": "limits", "num_replicas": sizes.replicas}
    return [
        {
            **file,
            "name": STREAM,
            "subjects": ["ev.p.>", "ev.s.>"],
            "max_age": int(sizes.max_age.total_seconds() * _SECOND),
            "max_bytes": sizes.max_bytes,
            "duplicate_window": int(sizes.dedup.total_seconds() * _SECOND),
            "discard": "new" if sizes.when_full == "refuse" else "old",
            # one per sandbox. No number at all is the server's own default, which is 1,000 since 2.15
            "max_consumers": 1_000_000,
            "allow_direct": True,
        },
        {
            **file,
            "name": ROUTES_STREAM,
            "subjects": ["rt.*.*"],
            "max_msgs_per_subject": 1,
            # a claim ends by the server's clock, and its end is a message as any other
            "allow_msg_ttl": True,
            "subject_delete_marker_ttl": 3600 * _SECOND,
            "discard": "new",
            "max_bytes": 64 * 2**20,
            "max_msg_size": 4096,
        },
        {
            # on disk: a server that was killed must not forget who may still publish
            **file,
            "name": BEATS_STREAM,
            "subjects": ["ig.*"],
            "max_msgs_per_subject": 1,
            "max_age": 5 * _SECOND,
            "max_bytes": 16 * 2**20,
            "max_msg_size": 4096,
            "discard": "old",
        },
        {
            **file,
            "name": DEAD_STREAM,
            "subjects": ["dl.>"],
            "max_age": 7 * 86_400 * _SECOND,
            "max_bytes": max(sizes.max_bytes // 4, 2**20),
            "duplicate_window": 120 * _SECOND,
            "discard": "old",
        },
        {
            # kept, so that a consumer's giving up is not missed while no control plane runs
            **file,
            "name": ADVISORIES_STREAM,
            "subjects": [
                f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{STREAM}.>",
                f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{STREAM}.>",
            ],
            "max_age": 86_400 * _SECOND,
            "max_bytes": 16 * 2**20,
            "discard": "old",
        },
        {
            # how far gateways of bots have read lanes, a message for each shard
            **file,
            "name": BOTS_STREAM,
            "subjects": ["bt.*.*.*"],
            "max_msgs_per_subject": 1,
            "max_age": 30 * 86_400 * _SECOND,
            "max_bytes": 16 * 2**20,
            "max_msg_size": 4096,
            "discard": "old",
        },
    ]


async def ensure(link: Link, sizes: Sizes) -> None:
    """Make the streams, or bring those that exist to these limits.

    Raises:
        Unavailable: JetStream does not answer, or has no room; the detail says which stream.
    """
    for config in configs(sizes):
        try:
            try:
                await link.api(f"STREAM.CREATE.{config['name']}", config)
            except ApiError as error:
                if error.code != _EXISTS:
                    raise
                await link.api(f"STREAM.UPDATE.{config['name']}", config)
        except ApiError as error:
            raise Unavailable("nats", f"the stream {config['name']} cannot be made: {error}") from error
