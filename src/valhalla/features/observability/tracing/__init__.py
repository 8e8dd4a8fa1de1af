"""Spans and the traces that they make: kept when they failed, were slow or were drawn."""

from valhalla.features.observability.tracing.feature import Tracing
from valhalla.features.observability.tracing.recorder import Tracer

__all__ = ["Tracer", "Tracing"]
