"""Handlers whose types are made at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def typed(handler: Callable[..., Any], **types: Any) -> Callable[..., Any]:
    """Give a handler the types of its arguments: FastAPI cannot resolve an annotation that names a function's local."""
    handler.__annotations__ = {**handler.__annotations__, **types}
    return handler
