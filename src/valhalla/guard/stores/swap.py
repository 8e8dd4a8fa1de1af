"""A compare-and-swap on one row as pure functions, for every store that decides in Python."""

from __future__ import annotations

from typing import Any

from valhalla.guard.contracts import CasRequest
from valhalla.guard.stores.rows import Row


def holds_still(row: Row, request: CasRequest, now: float) -> bool:
    """Say whether the row still is what the request says."""
    if row.state not in request.sources:
        return False
    if request.generation is not None and row.generation != request.generation:
        return False
    if request.version is not None and row.version != request.version:
        return False
    expires = row.cold.expires_at
    if request.when == "unexpired":
        return expires is None or now < expires
    if request.when == "expired":
        return expires is not None and now >= expires
    return request.when != "lapsed" or now >= row.lease_until


def change(row: Row, request: CasRequest, now: float) -> None:
    """Set what the request sets, all but the state itself."""
    patch: dict[str, Any] = {str(name): value for name, value in request.patch.items()}
    if "value" in patch:
        row.value = patch.pop("value")
    if "fingerprint" in patch:
        row.fingerprint = patch.pop("fingerprint")
    if request.expires_in is not None:
        patch["expires_at"] = now + request.expires_in
    for name in ("ttl", "tombstone"):
        if (seconds := getattr(request, name)) is not None:
            patch[name] = seconds
    row.cold = row.cold.changed(patch)
    if request.lease is not None:
        row.lease_until = now + request.lease
