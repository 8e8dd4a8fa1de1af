"""A registry's past: its changes, and what lies between two revisions."""

from __future__ import annotations

from datetime import UTC

from sqlalchemy.engine import Connection, RowMapping

from valhalla.kernel.problems import Conflict, NotFound
from valhalla.kit.registry import store
from valhalla.kit.registry.contracts import Change, Difference
from valhalla.kit.registry.plan import members


def change_of(row: RowMapping) -> Change:
    """Turn a row of history into the change."""
    return Change(
        registry=row["registry"],
        revision=row["revision"],
        op=row["op"],
        key=row["key"],
        before=row["before"],
        after=row["after"],
        actor=row["actor"],
        reason=row["reason"],
        at=row["at"].astimezone(UTC),
        correlation_id=row["correlation_id"],
    )


def differences(conn: Connection, name: str, low: int, high: int, only: str | None = None) -> list[Difference]:
    """Return the keys (or the ``only`` one) whose records differ between two revisions, ``low`` first."""
    found = [Difference(key, before, after) for key, before, after in store.between(conn, name, low, high, only)]
    return [d for d in found if (d.before is None) != (d.after is None) or members(d.before, d.after)]


def require(conn: Connection, name: str, low: int, high: int, head: int) -> None:
    """Check that history tells what the records were from ``low`` to ``high``.

    Raises:
        NotFound: there is no such revision yet.
        Conflict: history does not reach back that far.
    """
    if low < 0 or high > head:
        raise NotFound(f"{name} has the revisions 0 to {head}", revision=head)
    oldest = store.oldest(conn, name)
    if low < head and (oldest is None or oldest > low + 1):
        raise Conflict(f"the history of {name} is kept from revision {oldest} on", oldest=oldest)
