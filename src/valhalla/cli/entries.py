"""How entries of the ledger look."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from valhalla.cli.invocation import Invocation
from valhalla.cli.output import emit, remark, say, table


def print_entries(invocation: Invocation, found: Mapping[str, Any], *, subjects: bool = False) -> None:
    """Print a list of entries; ``subjects`` adds the column that says what each is about."""
    entries = found["items"]
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for entry in entries:
            say(str(entry.get("id") or entry.get("seq")))
    elif not entries:
        remark(invocation, "No entries.")
    else:
        headers = ["at", "actor", *(["subject"] if subjects else []), "action", "details"]
        table(invocation, headers, [_row(entry, subjects=subjects) for entry in entries])
        if found["next"]:
            remark(invocation, f"There are more than these {len(entries)}: see --limit.")


def _row(entry: Mapping[str, Any], *, subjects: bool) -> list[str]:
    details = json.dumps(entry["details"], ensure_ascii=False) if entry.get("details") else ""
    subject = [f"{entry.get('kind') or ''} {entry.get('subject') or ''}".strip()] if subjects else []
    return [str(entry["at"]), str(entry["actor"]), *subject, str(entry["action"]), details]
