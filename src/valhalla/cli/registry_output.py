"""How the commands of a registry show records and their past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from valhalla.cli.invocation import Invocation
from valhalla.cli.output import emit, fields, remark, say, table
from valhalla.cli.text import instant_of, printable, relative


def show(invocation: Invocation, key: str, record: dict[str, Any]) -> None:
    """Print one record."""
    if invocation.json:
        emit(record)
    elif invocation.quiet:
        say(printable(record[key]))
    else:
        say(printable(record[key]))
        fields(invocation, [(name, cell(value)) for name, value in record.items() if name != key])


def written(invocation: Invocation, key: str, answer: dict[str, Any], *, dry_run: bool) -> None:
    """Print the record after a write, or what a dry run would have changed."""
    if not dry_run:
        show(invocation, key, answer)
        return
    remark(invocation, "Nothing was changed; this would be:")
    changes(invocation, answer, answer["items"])


def changes(invocation: Invocation, document: dict[str, Any], some: Sequence[dict[str, Any]]) -> None:
    """Print edits as a table."""
    if invocation.json:
        emit(document)
        return
    rows = [
        (
            str(each["revision"]),
            each["op"],
            each["key"],
            differences(each),
            each["actor"],
            relative(instant_of(each["at"])),
            each["reason"] or "",
        )
        for each in some
    ]
    table(invocation, ["revision", "op", "key", "differences", "by", "when", "reason"], rows)


def differences(change: dict[str, Any]) -> str:
    """Return what differs, on one line."""
    if change["before"] is None or change["after"] is None:
        return "new" if change["before"] is None else "removed"
    return ", ".join(f"{name}: {cell(d['from'])} -> {cell(d['to'])}" for name, d in change["differences"].items())


def cell(value: object) -> str:
    """Return a value as a cell of a table."""
    import json

    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
