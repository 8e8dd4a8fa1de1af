"""What may be stored about a job: JSON that Postgres takes, of bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from traceback import format_exception
from typing import Any, Final

import msgspec

from valhalla.kit.json import dumps
from valhalla.kit.redact import text

_MOST: Final = 2**20
_TRACE: Final = 8000
_FRAMES: Final = 100
# a message of megabytes must leave room for the frames above it
_LINE: Final = 2000
# what is looked through for secrets: far more than is kept, so that none is cut in two at the beginning
_WIDE: Final = 8 * _TRACE


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
    """Describe what a job raised, with the end of its traceback; secrets are redacted."""
    detail = text(str(error), limit=4096)
    return {"code": "job-failed", "type": type(error).__name__, "detail": detail, "traceback": _traceback(error)}


def without_traceback(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what a list or an event tells of an error: small, whatever its traceback is."""
    return None if error is None else {name: value for name, value in error.items() if name != "traceback"}


def _traceback(error: BaseException) -> str:
    try:
        pieces = format_exception(error, limit=-_FRAMES)
    except Exception as problem:  # noqa: BLE001 - a module whose source cannot be read must not end the worker
        return f"the traceback cannot be written: {type(problem).__name__}"
    whole = "".join(piece if len(piece) <= _LINE else f"{text(piece, limit=_LINE)}\n" for piece in pieces)
    shown = text(whole[-_WIDE:], limit=_WIDE)
    return shown if len(shown) <= _TRACE else f"…[cut]\n{shown[-_TRACE:]}"


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return isinstance(value, (list, tuple)) and any(_has_nul(item) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
