"""What differs between the arguments of two actions. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

_MOST: Final = 200
_NOTHING: Final = object()


def differences(before: Any, after: Any) -> dict[str, dict[str, Any]]:
    """Return the members that differ by their paths (``a.b.0``), 200 at most; what is not there is null."""
    found: dict[str, dict[str, Any]] = {}
    for path, old, new in _walk("", before, after):
        found[path or "(all)"] = {"from": _shown(old), "to": _shown(new)}
        if len(found) == _MOST:
            break
    return found


def _walk(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    left, right = _inner(old), _inner(new)
    if left is not None and right is not None and isinstance(old, list) == isinstance(new, list):
        for name in [*left, *(name for name in right if name not in left)]:
            inner = f"{path}.{name}" if path else name
            yield from _walk(inner, left.get(name, _NOTHING), right.get(name, _NOTHING))
    elif type(old) is not type(new) or old != new:
        yield path, old, new


def _inner(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, list):
        return {str(place): one for place, one in enumerate(cast("list[Any]", value))}
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else None


def _shown(value: Any) -> Any:
    return None if value is _NOTHING else value
