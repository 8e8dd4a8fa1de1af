"""A subset of JSONPath (RFC 9535) that costs no more than the document is large: names, indices, ``*``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, cast

Step = str | int | None
"""A member, an index (negative from the end), or None for every one."""

_STEP: Final = re.compile(
    r"\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|\[(?P<index>-?[0-9]{1,9})\]|\['(?P<quoted>[^'\\]{1,200})'\]|\.\*|\[\*\]"
)
_DEEPEST: Final = 32


@lru_cache(maxsize=512)
def parse(text: str) -> tuple[Step, ...]:
    """Read ``$.items[0]['some name'].*``.

    Raises:
        ValueError: says what is wrong.
    """
    if not text.startswith("$"):
        raise ValueError("a JSONPath begins with $")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError("only .name, ['name'], [0] and [*] can follow: no filters, slices or descents")
        name = found["name"] or found["quoted"]
        steps.append(int(found["index"]) if found["index"] is not None else name)
        at = found.end()
    if len(steps) > _DEEPEST:
        raise ValueError(f"a JSONPath has at most {_DEEPEST} steps")
    return tuple(steps)


def find(document: Any, steps: tuple[Step, ...]) -> list[Any]:
    """Return every value that the path leads to."""
    values: list[Any] = [document]
    for step in steps:
        values = [inner for value in values for inner in _inside(value, step)]
    return values


def _inside(value: Any, step: Step) -> Iterator[Any]:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        if step is None:
            yield from members.values()
        elif isinstance(step, str) and step in members:
            yield members[step]
    elif isinstance(value, list):
        items = cast("list[Any]", value)
        if step is None:
            yield from items
        elif isinstance(step, int) and -len(items) <= step < len(items):
            yield items[step]
