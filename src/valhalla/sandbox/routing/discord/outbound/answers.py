"""Answers in Discord's own form: refusals that clients understand, and those of writes that were not done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from valhalla.sandbox.routing.discord.outbound.rules import Call

_EPOCH: Final = 1_420_070_400_000
_MISSING_ACCESS: Final = 50_001
# clients take a 429 without it for a block by a server in between
_VIA: Final = "1.1 valhalla"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a bot is answered."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def json(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply of a document."""
    return Reply(status, msgspec.json.encode(document), {"Content-Type": "application/json", **(headers or {})})


def unauthorized() -> Reply:
    """Return what a token that is nobody's gets."""
    return json(401, {"message": "401: Unauthorized", "code": 0})


def refused(why: str) -> Reply:
    """Return what a call gets that may not be made."""
    return json(403, {"message": f"Missing Access (Valhalla: {why})", "code": _MISSING_ACCESS})


def away(why: str) -> Reply:
    """Return what a call gets that certainly was not made."""
    return json(503, {"message": f"Valhalla: {why}", "code": 0}, {"Retry-After": "1"})


def unanswered() -> Reply:
    """Return what a call gets that may have been made. Clients repeat after a 502 or 504, and not after this."""
    return json(503, {"message": "Valhalla: no answer came; it may have been done", "code": 0})


def too_many(seconds: float, *, everywhere: bool = False) -> Reply:
    """Return Discord's 429; ``seconds`` until the call may be repeated."""
    headers = {
        "Retry-After": str(max(1, round(seconds + 0.5))),
        "X-RateLimit-Reset-After": f"{seconds:.3f}",
        "X-RateLimit-Scope": "global" if everywhere else "shared",
        "Via": _VIA,
    }
    if everywhere:
        headers["X-RateLimit-Global"] = "true"
    document = {"message": "You are being rate limited.", "retry_after": round(seconds, 3), "global": everywhere}
    return json(429, document, headers)


class Pretence:
    """Makes what a write would have been answered; ids grow, and are times as Discord's are."""

    def __init__(self) -> None:
        self._last = 0

    def id(self) -> str:
        """Return a snowflake of now."""
        self._last = max(self._last + 1, (time.time_ns() // 1_000_000 - _EPOCH) << 22)
        return str(self._last)

    def of(self, call: Call, body: Any, bot: Mapping[str, Any]) -> Reply:
        """Return the answer of a write that was not done."""
        if call.method == "DELETE" or "/reactions/" in call.path or call.path.endswith("/typing"):
            return Reply(204)
        if isinstance(body, list):
            # a list of commands is answered with each of them
            given: list[Any] = body  # pyright: ignore[reportUnknownVariableType]
            return json(200, [self._command(one, bot) for one in given if isinstance(one, dict)])  # pyright: ignore[reportUnknownArgumentType]
        known: dict[str, Any] = body if isinstance(body, dict) else {}  # pyright: ignore[reportUnknownVariableType]
        parts = call.path.split("/")
        if "commands" in parts:
            return json(200, self._command(known, bot))
        ids = [part for part in parts if part.isdigit()]
        made: dict[str, Any] = {"id": ids[-1] if call.method in ("PATCH", "PUT") and ids else self.id(), **known}
        if call.subject == "interaction":
            about = {"id": parts[2], "type": 2, "response_message_id": self.id(), "response_message_loading": False}
            return json(200, {"interaction": {**about, "response_message_ephemeral": False}})
        if call.subject == "direct":
            return json(200, {"id": made["id"], "type": 1, "recipients": [], "last_message_id": None})
        if "messages" in parts or call.subject == "followup":
            made |= {
                "channel_id": call.key,
                "author": dict(bot),
                "timestamp": datetime.now(UTC).isoformat(),
                "edited_timestamp": None,
                "content": str(known.get("content") or ""),
                "tts": False,
                "mention_everyone": False,
                "mentions": [],
                "mention_roles": [],
                "attachments": [],
                "embeds": known.get("embeds") or [],
                "pinned": False,
                "type": 0,
            }
        return json(200, made)

    def _command(self, said: dict[str, Any], bot: Mapping[str, Any]) -> dict[str, Any]:
        # a bot's user has the id of its application
        made = {"id": self.id(), "application_id": bot["id"], "version": self.id(), "type": 1, "description": ""}
        return {**made, "default_member_permissions": None, **said}
