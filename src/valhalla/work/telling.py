"""Tells that jobs are back in their queues: what was wrong with their names may be over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy.engine import Connection

from valhalla.kit.outbox import emit_many
from valhalla.work import store


def tell_back(
    conn: Connection, event: Literal["job.replayed", "job.released"], rows: Sequence[Mapping[Any, Any]]
) -> None:
    """Emit one event per job, in the order of its own events; ``still`` says what other jobs of its name are."""
    if not rows:
        return
    still = store.lost(conn, sorted({row["name"] for row in rows}))
    emit_many(
        conn,
        [
            {
                "subject": f"job.{row['id']}",
                "type": event,
                "data": {
                    "id": row["id"],
                    "name": row["name"],
                    "queue": row["queue"],
                    "still": still.get(row["name"], []),
                },
                "correlation_id": row["correlation_id"],
            }
            for row in rows
        ],
    )
