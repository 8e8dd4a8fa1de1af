"""Every SQL statement about what agents reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, INET
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.security.blocklist.contracts import REGISTRY
from valhalla.features.security.crowdsec.alerts.rules import Selected
from valhalla.features.security.crowdsec.tables import crowdsec_alerts
from valhalla.kit.registry.tables import changes, records

_alerts = crowdsec_alerts.c


class Dropped(NamedTuple):
    """An alert that is gone: who reported it, and the keys of the rules that it made."""

    client_id: str
    keys: Sequence[str]


def add_alerts(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Keep alerts; return their numbers in the order of the rows."""
    insert = sa.insert(crowdsec_alerts).returning(_alerts.id, sort_by_parameter_order=True)
    return list(conn.scalars(insert, list(rows)))


def alerts(conn: Connection, wanted: Selected, now: datetime, *, limit: int) -> Sequence[RowMapping]:
    """Return alerts, newest first."""
    query = sa.select(crowdsec_alerts).where(*_those(wanted, now)).order_by(_alerts.id.desc()).limit(limit)
    return conn.execute(query).mappings().all()


def find_alert(conn: Connection, number: int) -> RowMapping | None:
    """Return one alert."""
    return conn.execute(sa.select(crowdsec_alerts).where(_alerts.id == number)).mappings().one_or_none()


def drop_alerts(conn: Connection, wanted: Selected | int, now: datetime) -> list[Dropped]:
    """Remove alerts, or the one of a number; return what they were."""
    those = [_alerts.id == wanted] if isinstance(wanted, int) else _those(wanted, now)
    gone = conn.execute(sa.delete(crowdsec_alerts).where(*those).returning(_alerts.client_id, _alerts["keys"]))
    return [Dropped(row[0], row[1]) for row in gone]


def only_theirs(conn: Connection, gone: Sequence[Dropped]) -> list[str]:
    """Return the keys of the rules that stand as these alerts made them, and that no alert which is left made."""
    keys = {key for one in gone for key in one.keys}
    if not keys:
        return []
    made = sa.func.jsonb_array_elements_text(_alerts["keys"]).table_valued("key", name="made").render_derived()
    shared = sa.select(made.c.key).select_from(crowdsec_alerts.join(made, sa.true())).where(made.c.key == _any(keys))
    keys -= set(conn.scalars(shared.distinct()))
    # whose it is who decided how long it lasts: others may since have made it worse, or an agent one of an operator's
    before, after = (sa.func.coalesce(body["expires_at"].astext, "") for body in (changes.c.before, changes.c.after))
    author = (
        sa.select(changes.c.actor)
        .where(changes.c.registry == REGISTRY, changes.c.key == records.c.key, changes.c.op == "put")
        .where(sa.or_(changes.c.before.is_(None), before != after))
        .order_by(changes.c.revision.desc())
        .limit(1)
        .scalar_subquery()
    )
    mine = (
        records.c.registry == REGISTRY,
        records.c.key == _any(keys),
        author == _any({one.client_id for one in gone}),
    )
    return sorted(conn.scalars(sa.select(records.c.key).where(*mine)))


def _any(texts: Iterable[str]) -> Any:
    # one parameter however many there are
    return sa.func.any(sa.cast(sorted(texts), ARRAY(sa.Text)))


def _those(wanted: Selected, now: datetime) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [
        sa.func.lower(column) == text
        for column, text in (
            (_alerts.scope, wanted.scope),
            (_alerts.value, wanted.value),
            (_alerts.scenario, wanted.scenario),
        )
        if text is not None
    ]
    if wanted.network is not None:
        # what agents call a source is text, and need not be an address
        source = sa.case((sa.func.pg_input_is_valid(_alerts.value, "inet"), sa.cast(_alerts.value, INET)))
        found.append(source.op("<<=" if wanted.inside else ">>=")(sa.cast(wanted.network, INET)))
    if wanted.since is not None:
        found.append(_alerts.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(_alerts.created_at <= wanted.until)
    if wanted.simulated is False:
        found.append(sa.func.coalesce(_alerts.body["simulated"].astext, "false") != "true")
    if wanted.active is not None:
        found.append(_standing(now) if wanted.active else ~_standing(now))
    for member, text in (("remediation", wanted.remediation), ("source", wanted.origin)):
        if text is not None:
            found.append(_standing(None, sa.func.lower(records.c.body[member].astext) == text))
    return found


def _standing(now: datetime | None, *more: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Say that a rule which the alert made is there; with ``now`` that it holds."""
    made = sa.func.jsonb_array_elements_text(_alerts["keys"]).column_valued("made")
    expiry = sa.cast(records.c.body["expires_at"].astext, sa.DateTime(timezone=True))
    holds = () if now is None else (sa.or_(expiry.is_(None), expiry > now),)
    return sa.exists().where(records.c.registry == REGISTRY, records.c.key == made, *holds, *more)
