"""Take a step of a declared lifecycle in the database: one guarded UPDATE and its ledger entry, together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from valhalla.kernel.lifecycle import Lifecycle
from valhalla.kernel.problems import Conflict, NotFound
from valhalla.kit.ledger import Ledger


def take(
    conn: Connection,
    machine: Lifecycle,
    table: sa.Table,
    *,
    key: object,
    to: str,
    ledger: Ledger,
    actor: str,
    action: str = "status_changed",
    kind: str | None = None,
    sources: Iterable[str] | None = None,
    values: Mapping[str, Any] | None = None,
    where: sa.ColumnElement[bool] | None = None,
    details: Mapping[str, object] | None = None,
    correlation_id: str | None = None,
) -> RowMapping:
    """Move the row ``key`` to the state ``to`` and return it as it is now; of racing callers one wins.

    ``table`` has a ``status`` column and a primary key of one column. ``sources`` narrows the states to come from,
    ``where`` adds a condition, ``values`` are set in the same statement. The ledger entry is about (``kind``, ``key``),
    kind defaulting to the machine's name; its details are ``from``, ``to`` and ``details``.

    Raises:
        NotFound: there is no such row.
        IllegalTransition: its status does not lead to ``to``.
        Conflict: the step is legal, but ``sources`` or ``where`` refused it, or another caller was faster.
    """
    legal = machine.sources(to)
    allowed = legal if sources is None else tuple(sorted(set(legal) & set(sources)))
    values = values or {}
    plain = {name: value for name, value in values.items() if not isinstance(value, sa.ClauseElement)}
    if where is None and len(plain) == len(values):
        step = _step(table, to, allowed, tuple(plain))
    else:
        expressions = {name: value for name, value in values.items() if name not in plain}
        step = _build(table, to, allowed, tuple(plain), expressions, where)
    parameters = {f"new_{name}": value for name, value in plain.items()}
    row = conn.execute(step, {"this_key": key, **parameters}).mappings().one_or_none()
    if row is None:
        raise _refusal(conn, machine, table, key=key, to=to)
    ledger.append(
        conn,
        actor=actor,
        action=action,
        kind=kind or machine.name,
        subject=str(key),
        details={**(details or {}), "from": row["from_status"], "to": to},
        correlation_id=correlation_id,
    )
    return row


def _build(
    table: sa.Table,
    to: str,
    allowed: tuple[str, ...],
    named: tuple[str, ...],
    expressions: Mapping[str, Any],
    where: sa.ColumnElement[bool] | None,
) -> sa.Executable:
    (identity,) = table.primary_key.columns
    conditions = [identity == sa.bindparam("this_key", type_=identity.type), table.c.status.in_(allowed)]
    if where is not None:
        conditions.append(where)
    # locked first: after a wait for another transaction it re-reads the row, so ``from`` is what the step starts at
    old = (
        sa.select(identity.label("key"), table.c.status.label("from_status"))
        .where(*conditions)
        .with_for_update(of=table)
        .cte("old")
    )
    values = {name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in named}
    return (
        sa.update(table)
        .values({**values, **expressions, "status": to})
        .where(identity == old.c.key)
        .returning(*table.c, old.c.from_status)
    )


@lru_cache(maxsize=256)
def _step(table: sa.Table, to: str, allowed: tuple[str, ...], named: tuple[str, ...]) -> sa.Executable:
    """Build the statement of a step once: building costs more than running it."""
    return _build(table, to, allowed, named, {}, None)


def _refusal(conn: Connection, machine: Lifecycle, table: sa.Table, *, key: object, to: str) -> Exception:
    (identity,) = table.primary_key.columns
    current = conn.scalar(sa.select(table.c.status).where(identity == key))
    if current is None:
        return NotFound(f"there is no {machine.name} {key}")
    machine.check(current, to)
    return Conflict(
        f"the {machine.name} is {current} and could become {to}, but not under the conditions of this request",
        current=current,
        requested=to,
    )
