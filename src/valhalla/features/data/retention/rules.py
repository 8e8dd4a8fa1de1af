"""What a purge asks of the database, as text: which rows are old, which are held, and one statement that knows both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Final

from valhalla.features.data.retention.contracts import Category, Hold, Policy
from valhalla.features.data.retention.errors import BadPolicy, NotPurged, UnknownCategory
from valhalla.kernel.problems import Invalid
from valhalla.kit.db import SCHEMA
from valhalla.kit.holds import EVERYTHING
from valhalla.kit.holds import REGISTRY as HOLDS
from valhalla.kit.relations import Condition, Relation, conditions_sql, instant_sql
from valhalla.kit.sql import identifier, literal

LONGEST: Final = 36_500
SMALL: Final = 10_000
"""So few rows no share of a table matters to anybody."""
SMALLEST: Final = 250
LARGEST: Final = 1_000
"""Rows of a batch."""
FASTEST: Final = 55_000
"""Rows a second."""


def check_policy(policy: Policy, categories: Mapping[str, Category]) -> None:
    """Accept a policy.

    Raises:
        UnknownCategory, NotPurged, BadPolicy: no table is bound to it, it is never purged, or nobody could mean it.
    """
    category = categories.get(policy.category)
    if category is None:
        raise UnknownCategory(f"no data is called {policy.category[:64]!a}", errors=_at("/category", "unknown"))
    if category.refused is not None:
        raise NotPurged(f"{category.name} is never purged: {category.refused}")
    if policy.days is None and policy.keep_last is None:
        raise BadPolicy("neither 'days' nor 'keep_last' is named", errors=_at("/days", "missing"))
    if policy.days is not None and not 0 <= policy.days <= LONGEST:
        raise BadPolicy(f"/days: it is 0 to {LONGEST}", errors=_at("/days", "out of range"))
    if policy.keep_last is not None and not 0 <= policy.keep_last < 2**40:
        raise BadPolicy("/keep_last: it is 0 or more", errors=_at("/keep_last", "out of range"))
    if not 0 < policy.max_share <= 1:
        raise BadPolicy("/max_share: it is more than 0, and 1 at most", errors=_at("/max_share", "out of range"))
    if policy.export_first and category.source is None:
        raise BadPolicy("/export_first: the category cannot be exported", errors=_at("/export_first", "impossible"))


def check_hold(hold: Hold, categories: Mapping[str, Category]) -> None:
    """Accept a hold: every condition must be one that the table understands, or it would protect nothing.

    Raises:
        UnknownCategory, Invalid: no table is bound to it, a condition does not fit, or there is no reason.
    """
    if not hold.reason.strip():
        raise Invalid("/reason: say why", errors=_at("/reason", "missing"))
    if hold.since is not None and hold.until is not None and hold.until < hold.since:
        raise Invalid("/until: it ends before it begins", errors=_at("/until", "before since"))
    if hold.category == EVERYTHING:
        if hold.conditions:
            raise Invalid("/conditions: a hold of everything has none", errors=_at("/conditions", "not with '*'"))
        return
    category = categories.get(hold.category)
    if category is None:
        raise UnknownCategory(f"no data is called {hold.category[:64]!a}", errors=_at("/category", "unknown"))
    conditions_sql(category.relation, hold.conditions)


def held_sql(category: Category, holds: Iterable[Hold]) -> str:
    """Return the condition that a row is held, true or false and never NULL.

    Raises:
        Invalid: a hold names what the table does not have; nothing may be purged then.
    """
    each = [_one_hold(category, hold) for hold in holds if hold.category in (category.name, EVERYTHING)]
    return " OR ".join(f"(({text}) IS TRUE)" for text in each) or "false"


def _one_hold(category: Category, hold: Hold) -> str:
    conditions: list[Condition] = list(hold.conditions)
    clock = category.relation.column(category.clock).sql
    parts = conditions_sql(category.relation, conditions)
    if hold.since is not None:
        parts.append(f"{clock} >= {instant_sql(hold.since)}")
    if hold.until is not None:
        parts.append(f"{clock} < {instant_sql(hold.until)}")
    return " AND ".join(f"({part})" for part in parts) or "true"


def old_sql(category: Category, cutoff: datetime) -> str:
    """Return the condition that a row may go by its age."""
    relation = category.relation
    fixed = "" if relation.where is None else f"({relation.where}) AND "
    return f"{fixed}{relation.column(category.clock).sql} < {instant_sql(cutoff)}"


def batch_sql(category: Category, table: str, cutoff: datetime, held: str, limit: int, *, contended: bool) -> str:
    """Return the statement that takes a batch: all of it, so that a purge asks little of the server and of itself.

    It deletes rows and notes in the purge that they are gone, unless that purge (``$2``) is not running, or the holds
    are not as of revision ``$3`` any more: then nothing happens. Both are locked until the transaction ends. That a row
    is not held stands in the DELETE itself. ``$1`` is where the batch before ended, or NULL: without it each batch
    would walk the index over all that is gone, or held, already. ``contended`` leaves rows that somebody else has
    locked for later, which costs a lock of each row, and a fifth of the log; else it waits for them.

    It returns whether it was allowed, how many rows went, the newest instant, and of the purge all rows so far and at
    most.
    """
    relation = category.relation
    clock, key = relation.column(category.clock).sql, _key_sql(category)
    free = f"{old_sql(category, cutoff)} AND NOT ({held})"
    rest = f"{clock} >= coalesce($1::timestamptz, '-infinity')"
    children = "".join(
        f", child{number} AS (DELETE FROM {identifier(relation.schema)}.{identifier(child)} AS c USING gone"
        f" WHERE c.{identifier(column)} = gone.key)"
        for number, (child, column) in enumerate(category.children)
    )
    return (
        f"WITH run AS MATERIALIZED (SELECT id FROM {_RUNS} WHERE id = $2 AND status = 'running' FOR UPDATE),"
        f" holds AS MATERIALIZED (SELECT revision FROM {_HEADS} WHERE name = {literal(HOLDS)} AND revision = $3"
        " FOR SHARE),"
        " allowed AS MATERIALIZED (SELECT EXISTS (SELECT FROM run) AND EXISTS (SELECT FROM holds) AS so),"
        f" doomed AS MATERIALIZED (SELECT t.ctid AS place FROM {table} AS t"
        f" WHERE (SELECT so FROM allowed) AND {free} AND {rest}"
        f" ORDER BY {clock} LIMIT {limit}{' FOR UPDATE SKIP LOCKED' if contended else ''}),"
        f" gone AS (DELETE FROM {table} AS t WHERE t.ctid = ANY (ARRAY(SELECT place FROM doomed)) AND {free}"
        f" RETURNING {key} AS key, {clock} AS at){children},"
        f" batch AS (SELECT count(*) AS n, min(at) AS first, max(at) AS last, {_DIGEST} AS digest FROM gone),"
        f" noted AS (UPDATE {_RUNS} AS r SET rows = r.rows + n, batches = r.batches + 1,"
        f" oldest = least(r.oldest, first), newest = greatest(r.newest, last), digest = {_CHAINED}"
        " FROM batch WHERE r.id = $2 AND n > 0 RETURNING r.rows, r.most)"
        " SELECT (SELECT so FROM allowed), n, last, noted.rows, noted.most"
        " FROM batch LEFT JOIN noted ON true"
    )


def proof_sql(category: Category, table: str) -> str:
    """Return the statement that proves what a whole partition held: count, oldest, newest, digest.

    The digest is that of the digests of every minute, so it needs memory for one.
    """
    clock, key = category.relation.column(category.clock).sql, _key_sql(category)
    return (
        f"SELECT coalesce(sum(n), 0)::bigint, min(first), max(last),"
        f" encode(sha256(convert_to(coalesce(string_agg(digest, E'\\n' ORDER BY minute), ''), 'UTF8')), 'hex')"
        f" FROM (SELECT date_trunc('minute', at) AS minute, count(*) AS n, min(at) AS first, max(at) AS last,"
        f" {_DIGEST} AS digest FROM (SELECT {key} AS key, {clock} AS at FROM {table} AS t) AS gone"
        f" GROUP BY 1) AS minutes"
    )


def count_sql(category: Category, cutoff: datetime, held: str) -> str:
    """Return the statement that says what would go: rows, how many are held, oldest, newest."""
    clock = category.relation.column(category.clock).sql
    free = f"NOT ({held})"
    return (
        f"SELECT count(*) FILTER (WHERE {free}), count(*) FILTER (WHERE {held}),"
        f" min({clock}) FILTER (WHERE {free}), max({clock}) FILTER (WHERE {free})"
        f" FROM {category.relation.sql} WHERE {old_sql(category, cutoff)}"
    )


def border_sql(category: Category, keep: int) -> str:
    """Return the statement that finds the clock of the oldest row of the newest ``keep``."""
    clock = category.relation.column(category.clock).sql
    where = category.relation.where or "true"
    return (
        f"SELECT {clock} FROM {category.relation.sql} WHERE {where} AND {clock} IS NOT NULL"
        f" ORDER BY {clock} DESC OFFSET {keep - 1} LIMIT 1"
    )


def cutoff_of(category: Category, policy: Policy, now: datetime, border: datetime | None) -> datetime | None:
    """Return before which instant rows are old, None if none is.

    ``border`` is the clock of the oldest row that ``keep_last`` keeps, None if there are not so many. Of tables by day
    whole days go.
    """
    found = [] if policy.days is None else [now - timedelta(days=policy.days)]
    if policy.keep_last:
        if border is None:
            return None
        found.append(border)
    cutoff = min(found, default=now)
    return whole_days(cutoff) if category.partitioned else cutoff


def whole_days(instant: datetime) -> datetime:
    """Return the beginning of an instant's day (UTC)."""
    return datetime.combine(instant.astimezone(UTC).date(), time(), UTC)


def needs_people(rows: int, share: float, policy: Policy) -> bool:
    """Say whether a purge is so large a part of its table that somebody must agree."""
    return rows > SMALL and share > policy.max_share


def chained(before: str | None, digest: str) -> str:
    """Return the digest of a purge after one more batch."""
    return hashlib.sha256(f"{before or ''}\n{digest}".encode()).hexdigest()


def pace(size: int, took: float, since: float) -> tuple[int, float]:
    """Return the size of the next batch and the pause before it, in seconds.

    ``took`` is how long the server took for the last batch, ``since`` how long ago it was due. An insert that meets a
    batch waits for a processor or for the log, so that batches are as small as the rate allows: they grow where what
    each costs beside its rows leaves too little of the time, and no batch holds a processor for long. A third of the
    time is others' at least, and nobody needs a purge to be faster than ``FASTEST``.
    """
    share = since / (size / FASTEST)
    if took > 0.05 or share < 0.25:
        size = max(SMALLEST, size // 2)
    elif share > 0.75:
        size = min(LARGEST, size * 2)
    return size, max(0.002, took / 2, size / FASTEST - since)


_RUNS: Final = f"{identifier(SCHEMA)}.retention_runs"
_HEADS: Final = f"{identifier(SCHEMA)}.registry_heads"
# as ``chained`` does it
_CHAINED: Final = "encode(sha256(convert_to(coalesce(r.digest, '') || E'\\n' || batch.digest, 'UTF8')), 'hex')"
_DIGEST: Final = (
    "encode(sha256(convert_to(coalesce(string_agg(key, E'\\n' ORDER BY key COLLATE \"C\"), ''), 'UTF8')), 'hex')"
)


def _key_sql(category: Category) -> str:
    relation: Relation = category.relation
    parts: list[str] = []
    for name in category.key:
        column = relation.column(name)
        # not in the session's zone: the digest is the same wherever it is computed
        parts.append(f"({column.sql} AT TIME ZONE 'UTC')::text" if column.kind == "instant" else f"{column.sql}::text")
    return parts[0] if len(parts) == 1 else f"concat_ws('|', {', '.join(parts)})"


def _at(pointer: str, detail: str) -> list[dict[str, str]]:
    return [{"pointer": pointer, "detail": detail}]
