"""Hooks of a gate that does not let everybody pass."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from valhalla.gate import Hooks
from valhalla.gate.contracts import Asking, Quota, Taken
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Forbidden, Problem

ANN = Principal("ann", "team", frozenset({"sandbox:read"}))


KEY = {"Authorization": "Bearer good"}


def authenticate(key: str, _address: str | None) -> Principal | None:
    return ANN if key == "good" else None


def closed(**more: Any) -> Hooks:
    """A gate that wants a key everywhere but at /live."""
    return Hooks(authenticate=authenticate, is_public=lambda path: path == "/live", **more)


class Refuses:
    """A shield, a blocklist and limits at once; says in which order it was asked."""

    notices: tuple[tuple[bytes, bytes], ...] = ((b"maintenance", b"soon"),)

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.asked: list[str] = []

    def _say(self, who: str) -> Problem | None:
        self.asked.append(who)
        return Forbidden(f"refused by {who}") if who in self.refused else None

    def refuse(self, method: str, path: str, query: bytes, principal: Principal | None) -> Problem | None:
        return self._say("shield")

    def verdict(
        self, method: str, path: str, address: str | None, principal: Principal | None, headers: Any, *, proxied: bool
    ) -> Problem | None:
        return self._say("blocklist")

    def refusal(self, method: str, path: str, address: str | None, principal: Principal | None) -> Problem | None:
        return None

    def take(self, asking: Asking) -> Taken | Awaitable[Taken]:
        return Taken([Quota("global", 10, 60.0, 9, 5.2)], self._say("limits"))
