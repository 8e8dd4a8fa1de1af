"""One entry of the ledger for many rules at once: history has each of them, the ledger that and what they were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.kit.json import canonical
from valhalla.kit.ledger import Ledger

_EACH: Final = 20


class Summing(Ledger):
    """A ledger in front of the ledger. An entry for each rule of a list would be half of what its import costs."""

    def __init__(self, whole: Ledger) -> None:
        self._whole = whole

    def append_many(self, conn: Connection, items: Iterable[Mapping[str, Any]]) -> None:
        """Write the entries, or of more than twenty one: how many, which revisions, and SHA-256 of all of them."""
        rows = list(items)
        if len(rows) <= _EACH:
            self._whole.append_many(conn, rows)
            return
        first, last = rows[0], rows[-1]
        details = {
            "rules": len(rows),
            "first_revision": first["details"]["revision"],
            "last_revision": last["details"]["revision"],
            "sha256": hashlib.sha256(canonical([dict(row) for row in rows])).hexdigest(),
            "reason": first["details"].get("reason"),
        }
        subject = f"{first['subject']}…{last['subject']}"
        self._whole.append(
            conn, actor=first["actor"], action="bulk", kind=first["kind"], subject=subject, details=details
        )
