"""JSON merge patch (RFC 7396). Pure."""

from __future__ import annotations

from typing import Any, cast


def merge(target: Any, patch: Any) -> Any:
    """Return ``target`` as ``patch`` changes it: objects member by member, ``null`` removes, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged: dict[str, Any] = dict(cast("dict[str, Any]", target)) if isinstance(target, dict) else {}
    for name, value in cast("dict[str, Any]", patch).items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged
