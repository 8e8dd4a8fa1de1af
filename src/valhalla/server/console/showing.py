"""How values look: pure. Templates escape what this returns; nothing here makes markup."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar, cast

import msgspec

from valhalla.kit.json import dumps_text, loads
from valhalla.server.console.contracts import Column, Shape

T = TypeVar("T")
# a table of 50 rows stays small whatever its values are
_CELL: Final = 160
_INSTANT: Final = 33
# what is larger or deeper is read better as it came
_ROWS: Final = 60
_CELLS: Final = 8
_DEEPEST: Final = 2
_GOOD: Final = frozenset(
    {
        "running",
        "alive",
        "healthy",
        "ok",
        "succeeded",
        "passed",
        "normal",
        "enabled",
        "approved",
        "active",
        "resolved",
        "up",
        "ready",
        "go",
        "true",
        "info",
    }
)
_BAD: Final = frozenset(
    {
        "dead",
        "failed",
        "missed",
        "unhealthy",
        "critical",
        "error",
        "denied",
        "lost",
        "down",
        "no-go",
        "destroyed",
        "indeterminate",
        "rolled_back",
    }
)
_WAITS: Final = frozenset(
    {
        "held",
        "open",
        "pending",
        "queued",
        "creating",
        "destroying",
        "expired",
        "degraded",
        "warning",
        "acknowledged",
        "waiting",
        "in_progress",
        "read_only",
        "maintenance",
        "cancelled",
        "muted",
        "disabled",
        "shadow",
    }
)
# a sheet would take a cell that begins so for a formula (OWASP: CSV injection)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Cell(NamedTuple):
    """One value, ready to be shown: ``kind`` chooses the element, ``tone`` the colour, ``whole`` is the long form.

    ``rank`` is what a number is ordered by, whatever unit it is shown in.
    """

    kind: str
    text: str
    tone: str = ""
    whole: str = ""
    rank: float | None = None


def pick(item: Any, name: str) -> Any:
    """Return a member of an item, ``a.b`` of what lies deeper; None where there is none."""
    for step in name.split("."):
        if not isinstance(item, Mapping):
            return None
        item = cast("Mapping[str, Any]", item).get(step)
    return item


def cell(value: Any, shape: Shape = "auto", *, limit: int = _CELL) -> Cell:
    """Say how a value looks."""
    if value is None or value in ("", [], {}):
        return Cell("none", "—")
    if shape == "status":
        return Cell("badge", str(value)[:40], tone(value))
    if isinstance(value, bool):
        return Cell("badge", "yes" if value else "no", "good" if value else "")
    if isinstance(value, (int, float)):
        return Cell("number", _number(value, shape), rank=value)
    return _text(value, shape, limit)


def _number(value: float, shape: Shape) -> str:
    if shape == "seconds":
        return duration(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _text(value: Any, shape: Shape, limit: int) -> Cell:
    if isinstance(value, str):
        if shape in ("auto", "time") and is_instant(value):
            return Cell("time", value)
        return _short("code" if shape == "code" else "text", value, limit)
    if isinstance(value, list) and all(isinstance(one, str) for one in cast("list[Any]", value)):
        return _short("text", ", ".join(cast("list[str]", value)), limit)
    return _short("code", dumps_text(cast("Any", value)), limit)


def _short(kind: str, text: str, limit: int) -> Cell:
    if not text:
        return Cell("none", "—")
    return Cell(kind, text) if len(text) <= limit else Cell(kind, text[: limit - 1] + "…", whole=text[:1000])


def is_words(value: Any) -> bool:
    """Say whether a value is a list of a few short texts, which need no brackets."""
    if not isinstance(value, list) or not 0 < len(cast("list[Any]", value)) <= 40:
        return False
    return all(isinstance(one, str) and len(one) <= 60 for one in cast("list[Any]", value))


def form_of(value: Any, depth: int = 0) -> str:
    """Say how a document is best laid out: ``plain``, ``words``, ``rows`` of a table, ``members``, or as ``json``."""
    if is_words(value):
        return "words"
    if isinstance(value, list):
        rows = cast("list[Any]", value)
        return "rows" if 0 < len(rows) <= _ROWS and all(_is_flat(row) for row in rows) else "json"
    if not isinstance(value, Mapping):
        return "json" if isinstance(value, str) and len(value) > _CELL else "plain"
    inner = cast("Mapping[str, Any]", value).values()
    fits = depth < _DEEPEST and len(inner) <= _ROWS and all(form_of(one, depth + 1) != "json" for one in inner if one)
    return "members" if fits else "json"


def _is_flat(row: Any) -> bool:
    if not isinstance(row, Mapping) or not 0 < len(cast("Mapping[str, Any]", row)) <= _CELLS:
        return False
    return all(isinstance(one, (str, int, float, bool, type(None))) for one in cast("Mapping[str, Any]", row).values())


def tone(value: Any) -> str:
    """Return the colour of a status."""
    word = str(value).lower().replace(" ", "_")
    return "good" if word in _GOOD else "bad" if word in _BAD else "wait" if word in _WAITS else ""


def is_instant(text: str) -> bool:
    """Say whether a text is an instant as the API writes them."""
    if not 20 <= len(text) <= _INSTANT or text[10] != "T":
        return False
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def duration(seconds: float) -> str:
    """Say a duration in the unit that fits."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1000:.3g} ms"


def pretty(value: Any) -> str:
    """Write a document for reading and editing."""
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def unpretty(text: str) -> Any:
    """Read what somebody wrote.

    Raises:
        ValueError: it is no JSON.
    """
    return loads(text)


def packed(value: Any) -> str:
    """Write values so that a form can carry them."""
    return msgspec.json.encode(value).decode()


def unpacked(text: str, kind: type[T]) -> T:
    """Read what ``packed`` wrote.

    Raises:
        ValueError: somebody else wrote it.
    """
    return msgspec.json.decode(text, type=kind)


def curl(method: str, url: str, body: Any = None, *, headers: Sequence[str] = ()) -> str:
    """Return the command that sends the same request; the key stays in the caller's environment."""
    words = ["curl", "-sS"]
    if method != "GET":
        words += ["-X", method]
    line = shlex.join(words) + ' -H "Authorization: Bearer $VALHALLA_API_KEY"'
    for header in headers:
        line += f" -H {shlex.quote(header)}"
    if body is not None:
        line += f" -H 'Content-Type: application/json' -d {shlex.quote(dumps_text(body))}"
    return f"{line} {shlex.quote(url)}"


def sheet(columns: Sequence[Column], items: Sequence[Any], *, head: bool) -> str:
    """Return rows as CSV (RFC 4180), with nothing in them that a spreadsheet would execute."""
    out = io.StringIO()
    writer = csv.writer(out)
    if head:
        writer.writerow([column.name for column in columns])
    for item in items:
        writer.writerow([_plain(pick(item, column.name)) for column in columns])
    return out.getvalue()


def line(*values: str) -> str:
    """Return one line of a sheet."""
    out = io.StringIO()
    csv.writer(out).writerow([_plain(value) for value in values])
    return out.getvalue()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else dumps_text(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
