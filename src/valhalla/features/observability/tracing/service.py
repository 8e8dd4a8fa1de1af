"""The use cases of traces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from valhalla.features.observability.tracing import otlp, protobuf_in, rules, store
from valhalla.features.observability.tracing.contracts import Filter, Kept, Node, Stored
from valhalla.features.observability.tracing.errors import NoSuchTrace, NotOtlp, SpansFull
from valhalla.features.observability.tracing.recorder import Tracer
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit import paging
from valhalla.kit.db import Database

Form = Literal["json", "protobuf"]
_MOST: Final = 2_000


class Trace(NamedTuple):
    """A trace as a tree; of one with more than 2000 spans, the first ones."""

    trace_id: str
    spans: int
    roots: Sequence[Node]


class TraceService:
    """Lists traces, shows one, and takes the spans of clients."""

    def __init__(self, db: Database, tracer: Tracer, *, clock: Clock) -> None:
        self._db = db
        self._tracer = tracer
        self._clock = clock

    async def page(
        self, principal: Principal, wanted: Filter, *, limit: int, cursor: str | None
    ) -> paging.Page[Stored]:
        """Return entries of traces that fit, the last to be received first.

        Raises:
            Forbidden: the scope is missing.
            Invalid: the cursor was not made here.
        """
        principal.require("traces:read")
        return await paging.newest(
            lambda before, size: self._db.read(store.page, wanted, before=before, limit=size),
            lambda span: (span.at, span.span_id),
            limit=limit,
            cursor=cursor,
        )

    async def get(self, principal: Principal, trace_id: str) -> Trace:
        """Return one.

        Raises:
            NoSuchTrace: none of its spans was kept.
        """
        principal.require("traces:read")
        spans = await self._db.read(store.spans, trace_id, limit=_MOST)
        if not spans:
            raise NoSuchTrace(f"no trace has the id '{trace_id[:64]}'")
        return Trace(trace_id, len({span.span_id for span in spans}), rules.tree(spans))

    def take(self, principal: Principal, body: bytes, form: Form = "json") -> int:
        """Take a client's spans; return how many were refused, because they are wrong or there is no room.

        Raises:
            Forbidden: the scope is missing.
            NotOtlp: the body has not the form.
            SpansFull: there is room for none of them.
        """
        principal.require("telemetry")
        now = self._clock.now().timestamp()
        good: list[Kept] = []
        wrong = 0
        try:
            for service, span in (otlp if form == "json" else protobuf_in).read(body):
                if span is None:
                    wrong += 1
                else:
                    good.append(otlp.kept(service, span, now, principal.id))
        except (msgspec.MsgspecError, protobuf_in.Malformed, UnicodeDecodeError, RecursionError):
            raise NotOtlp from None
        taken = self._tracer.receive(good)
        if good and not taken:
            raise SpansFull(retry_after=2)
        return wrong + len(good) - taken
