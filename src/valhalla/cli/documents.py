"""Parts of an answer's document, with a type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


def mapping(document: Mapping[str, Any], member: str) -> dict[str, Any]:
    """Return a member that is an object; absent and null are an empty one."""
    value = document.get(member)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def sequence(document: Mapping[str, Any], member: str) -> list[Any]:
    """Return a member that is a list; absent and null are an empty one."""
    value = document.get(member)
    return cast("list[Any]", value) if isinstance(value, list) else []


def page_of(document: Any) -> dict[str, Any]:
    """Return a page; a short list may come without one around it."""
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {"items": document}
