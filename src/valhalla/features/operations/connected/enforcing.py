"""Whether what is decided here holds in the applications that follow."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from valhalla.features.operations.connected import store
from valhalla.kit.checks import Verdict
from valhalla.kit.db import Database

FOLLOWS: Final = timedelta(seconds=90)
"""Who has not been heard of for as long follows no longer."""
_SHOWN: Final = 3


async def enforcing(db: Database, now: datetime) -> Verdict:
    """Say whether every application that follows enforces every rule."""
    rows = await db.read(store.lacking, now - FOLLOWS)
    said = dict.fromkeys(
        f"{row['name']} on {row['host']} does not enforce {lack['rules']} rules by {lack['what']}"
        for row in rows
        for lack in row["lacks"]
    )
    more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return Verdict(ok=not rows, reason="; ".join(list(said)[:_SHOWN]) + more if rows else None)
