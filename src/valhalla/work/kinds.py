"""What the workers of all programs know: so that a control plane can submit jobs whose functions it has not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection

from valhalla.work.errors import BadArguments, UnknownJob
from valhalla.work.registry import Jobs, Kind
from valhalla.work.tables import job_kinds

ALIVE: Final = 20.0
"""Seconds after which a kind that no worker has named is known to nobody that lives; workers name theirs every 5."""

# several workers know the same: one of them writes
_ANNOUNCE: Final = sa.text(
    "INSERT INTO valhalla.job_kinds AS k (name, queue, lane, timeout, parameters, seen_at)"
    " SELECT r.name, r.queue, r.lane, r.timeout, r.parameters, clock_timestamp()"
    " FROM jsonb_to_recordset(:rows) AS r(name text, queue text, lane text, timeout float8, parameters jsonb)"
    " ORDER BY r.name ON CONFLICT (name) DO UPDATE SET queue = excluded.queue, lane = excluded.lane,"
    " timeout = excluded.timeout, parameters = excluded.parameters, seen_at = excluded.seen_at"
    " WHERE k.seen_at < excluded.seen_at - interval '3 seconds' OR (k.queue, k.lane, k.timeout, k.parameters)"
    " IS DISTINCT FROM (excluded.queue, excluded.lane, excluded.timeout, excluded.parameters)"
).bindparams(sa.bindparam("rows", type_=JSONB))
_LIVE: Final = sa.text(
    "SELECT name, queue, lane FROM valhalla.job_kinds WHERE seen_at > clock_timestamp() - make_interval(secs => :alive)"
)
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """A job that some worker runs. ``parameters`` has ``properties`` and ``required`` as JSON Schema writes them."""

    name: str
    queue: str
    lane: str
    timeout: float | None
    parameters: Mapping[str, Any]
    seen_at: datetime

    def plain(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``args`` in their JSON form, checked as far as can be without the function; the worker does the rest.

        Raises:
            BadArguments: they do not fit, or have no JSON form.
        """
        try:
            plain: dict[str, Any] = msgspec.to_builtins(dict(args))
        except TypeError as error:
            raise BadArguments(f"{self.name}: {error}", job=self.name) from error
        if (properties := self.parameters.get("properties")) is None:
            return plain
        if missing := sorted(set(self.parameters.get("required", ())) - plain.keys()):
            raise BadArguments(f"{self.name}: {', '.join(missing)} is missing", job=self.name)
        if unknown := sorted(plain.keys() - properties.keys()):
            raise BadArguments(f"{self.name}: it has no parameter {unknown[0]!r}", job=self.name)
        for name, value in plain.items():
            wanted = properties[name].get("type")
            allowed = _TYPES.get(wanted) if isinstance(wanted, str) else None
            if allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)):
                raise BadArguments(f"{self.name}: {name!r} must be of type {wanted}", job=self.name)
        return plain


class Kinds:
    """Every job that this program or some worker knows; a view of one moment."""

    def __init__(self, own: Jobs, others: Mapping[str, Announced]) -> None:
        self._own = own
        self._others = others

    def known(self, name: str) -> Kind:
        """Return what ``name`` is known as.

        Raises:
            UnknownJob: nobody knows it.
        """
        found = self._own.get(name) or self._others.get(name)
        if found is None:
            raise UnknownJob(f"no job is called {name!r}", known=self.names[:100])
        return found

    @property
    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted({*self._own.names, *self._others})


def announce(conn: Connection, jobs: Jobs) -> None:
    """Say that a live worker knows these jobs."""
    rows = [
        {"name": one.name, "queue": one.queue, "lane": one.lane, "timeout": one.timeout, "parameters": one.schema()}
        for one in jobs
    ]
    conn.execute(_ANNOUNCE, {"rows": rows})


def every(conn: Connection) -> list[Announced]:
    """Return what workers have announced, also those that live no more, by name."""
    columns = [job_kinds.c[name] for name in Announced.__struct_fields__]
    rows = conn.execute(sa.select(*columns).order_by(job_kinds.c.name)).mappings()
    return [Announced(**{**row, "seen_at": row["seen_at"].astimezone(UTC)}) for row in rows]


def read(conn: Connection, jobs: Jobs) -> Kinds:
    """Return everything that can be submitted now."""
    return Kinds(jobs, {one.name: one for one in every(conn)})


def live(conn: Connection) -> tuple[set[str], set[str]]:
    """Return the names that a live worker knows, and the lanes that one looks at."""
    rows = conn.execute(_LIVE, {"alive": ALIVE}).all()
    lanes = {lane for row in rows for lane in (row.queue, row.lane, f"{row.queue}:{row.name}")}
    return {row.name for row in rows}, lanes


def prune(conn: Connection) -> None:
    """Forget what no worker has known for a week."""
    conn.execute(sa.delete(job_kinds).where(job_kinds.c.seen_at < sa.func.now() - sa.text("interval '7 days'")))
