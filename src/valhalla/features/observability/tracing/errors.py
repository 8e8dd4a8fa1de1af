"""What can be wrong with a request about traces."""

from __future__ import annotations

from valhalla.kernel.problems import NotFound, Problem


class NoSuchTrace(NotFound):
    """No span of this trace was kept: it was neither sampled, nor slow, nor did it fail, or it is too old."""

    code = "trace-not-found"
    title = "There is no trace of this id"
    help = "Only a share of the traces is kept (trace_sample), and all that failed or were slow (trace_slow)."


class SpansFull(Problem):
    """More spans come than can be written; none of those sent now was taken."""

    code = "spans-full"
    status = 503
    title = "There is no room for spans now"
    help = "Send them again after 'Retry-After', or drop them."


class NotOtlp(Problem):
    """The body is no OTLP trace request, in JSON or protobuf."""

    code = "not-otlp"
    status = 400
    title = "This is not an OTLP trace request"
    help = "Send OTLP/HTTP: OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf or http/json, not compressed or with gzip."
