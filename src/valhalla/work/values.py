"""What may be stored about a job: JSON that Postgres takes, of bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from valhalla.kit.json import dumps
from valhalla.kit.redact import text

_MOST: Final = 2**20


class UnstorableError(ValueError):
    """The value has no JSON form, or is too large; the message says which."""


def plain(value: object) -> Any:
    """Return ``value`` in its JSON form.

    Raises:
        UnstorableError: it has none, holds a NUL character, or is larger than 1 MiB.
    """
    try:
        built = msgspec.to_builtins(value)
        data = dumps(built)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnstorableError(str(error)) from error
    if len(data) > _MOST:
        raise UnstorableError(f"{len(data)} bytes of JSON, more than {_MOST}")
    # jsonb refuses it, and one such value would hold up the outcomes that are written together with it
    if b"\\u0000" in data and _has_nul(built):
        raise UnstorableError("a text holds a NUL character")
    return built


def failure(error: BaseException) -> dict[str, str]:
    """Describe what a job raised; secrets are redacted."""
    return {"code": "job-failed", "type": type(error).__name__, "detail": text(str(error), limit=4096)}


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return isinstance(value, (list, tuple)) and any(_has_nul(item) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
