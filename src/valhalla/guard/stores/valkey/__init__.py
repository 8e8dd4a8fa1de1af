"""The Valkey (or Redis 7) store: every verb is one Lua script, so a guarded call is two round trips."""

from __future__ import annotations

from valhalla.guard.stores.valkey.store import ValkeyStore

__all__ = ["ValkeyStore"]
