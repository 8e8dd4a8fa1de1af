"""Which traces are kept, decided when they end here, and how they get into the table and to a collector."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from valhalla.features.observability import looks
from valhalla.features.observability.tracing import rules, store
from valhalla.features.observability.tracing.contracts import Ended, Kept
from valhalla.features.observability.tracing.export import Exporter
from valhalla.features.observability.tracing.tables import TABLE
from valhalla.kit import notices, partitions
from valhalla.kit.batches import Batches
from valhalla.kit.db import Database
from valhalla.kit.spans import Local, Span, begun
from valhalla.kit.trace import Trace


class Tracer:
    """Keeps what failed, what was slow, and a share of the rest: the share is drawn where a trace begins."""

    def __init__(
        self,
        db: Database,
        *,
        share: float,
        slow: timedelta,
        exporter: Exporter | None = None,
        most: int = 20_000,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """``share`` of 0 to 1; at most ``most`` spans wait to be written."""
        self._db = db
        self._share = share
        self._slow = slow.total_seconds()
        self._exporter = exporter
        self._draw = draw
        self._days: set[date] = set()
        self.batches: Batches[Kept] = Batches("spans", self._write, most=most)

    def begin(self, traceparent: str | None) -> Trace:
        """Return the place of something that begins here (``kit.spans.Roots``)."""
        return begun(traceparent, sampled=self._draw() < self._share)

    def end(self, root: Span, local: Local, correlation: str | None, principal: str | None, *, sampled: bool) -> None:
        """Keep a job or delivery with what happened inside, if it is worth keeping."""
        if sampled or root.failed or local.failed or root.seconds >= self._slow:
            self._keep(root, local.spans, correlation, principal, entry=root.parent_id is None)

    def request(self, ended: Ended) -> None:
        """Keep a request: the gate tells of those alone that are worth it."""
        attributes = {"http.response.status_code": ended.status}
        failed = ended.status >= 500
        root = Span(
            *(ended.trace_id, ended.span_id, ended.parent_id, ended.name, "server", ended.started, ended.seconds),
            failed=failed,
            attributes=attributes,
        )
        self._keep(root, ended.inner, ended.correlation, ended.principal, entry=True)

    def receive(self, spans: list[Kept]) -> int:
        """Take a client's spans; return for how many there was room."""
        return sum(self.batches.put(kept) for kept in spans)

    def _keep(
        self, root: Span, inner: Sequence[Span], correlation: str | None, principal: str | None, *, entry: bool
    ) -> None:
        now = time.time()
        self.batches.put(Kept(root, now, entry, correlation=correlation, principal=principal))
        for span in inner:
            self.batches.put(Kept(span, now, entry=False, correlation=correlation, principal=principal))

    async def _write(self, spans: list[Kept]) -> None:
        rows = [rules.row(kept) for kept in spans]
        days = {row["at"].date() for row in rows}
        if missing := days - self._days:
            await self._db.run(partitions.ensure, TABLE, missing)
            self._days |= missing
        looked = looks.looked((row["trace_id"], row["name"]) for row in rows)
        fresh = any(row["entry"] and row["trace_id"] not in looked for row in rows)
        try:
            await self._db.run(_add, rows, fresh)
        except Exception:
            # somebody may have dropped a partition: look again the next time
            self._days.clear()
            raise
        if self._exporter is not None:
            for row in rows:
                self._exporter.batches.put(row)


def _add(conn: Connection, rows: Sequence[Mapping[str, Any]], fresh: bool) -> None:
    store.add(conn, rows)
    if fresh:
        notices.tell(conn, notices.TRACES)
