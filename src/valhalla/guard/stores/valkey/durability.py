"""Whether the server keeps what it acknowledges. Pure; the store asks and remembers."""

from __future__ import annotations

from typing import Any, Final, cast

from valhalla.guard.stores.valkey.replies import ReplyError
from valhalla.guard.stores.valkey.scripts import command

QUESTION: Final = command("CONFIG", "GET", "appendonly", "appendfsync", "maxmemory", "maxmemory-policy")

HELP: Final = (
    "Set 'appendonly yes', 'appendfsync always' and 'maxmemory-policy noeviction' on the server, or use the Postgres "
    "or SQLite store for irreversible actions. Where CONFIG is not allowed and the operator vouches for these "
    "settings, say ValkeyStore(..., durability='trusted')."
)


def objection(reply: Any) -> str | None:
    """Return why irreversible actions are refused, from the reply to ``QUESTION``; ``None`` if they need not be."""
    if isinstance(reply, ReplyError):
        return f"valkey does not say whether it is durable ({reply})"
    if not isinstance(reply, list):
        return "valkey does not say whether it is durable"
    words = [bytes(word).decode("utf-8", "replace") for word in cast("list[Any]", reply)]
    found = dict(zip(words[::2], words[1::2], strict=False))
    for name, wanted in (("appendonly", "yes"), ("appendfsync", "always")):
        if found.get(name) != wanted:
            return f"valkey may forget what it acknowledged: {name} is '{found.get(name, 'unknown')}', not '{wanted}'"
    if found.get("maxmemory") != "0" and found.get("maxmemory-policy") != "noeviction":
        return f"valkey may drop claims to make room: maxmemory-policy is '{found.get('maxmemory-policy', 'unknown')}'"
    return None
