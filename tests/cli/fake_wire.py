"""Words of the wire that every part of the fake plane uses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any


def instant(**ahead: float) -> str:
    """Return an RFC 3339 instant from now."""
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat().replace("+00:00", "Z")


def sandbox(name: str, number: int, **members: Any) -> dict[str, Any]:
    """Return a sandbox as the wire has it."""
    return {
        "id": f"s{number:015d}",
        "name": name,
        "owner": "ada",
        "status": "running",
        "template": "community",
        "description": None,
        "tags": [],
        "metadata": {},
        "routes": [],
        "created_at": instant(),
        "expires_at": instant(hours=3),
        "destroyed_at": None,
        "last_activity_at": None,
        "database": "valhalla",
        "schema": f"sbx_s{number:015d}",
        **members,
    }


def problem(status: int, code: str, detail: str, **extra: Any) -> tuple[int, dict[str, Any]]:
    """Return a problem as the wire has it."""
    title = "The title of " + code
    members = {"type": f"/problems/{code}", "title": title, "status": status, "detail": detail, "code": code}
    return status, members | {"help": "Do the other thing.", "correlation_id": "c0ffee"} | extra
