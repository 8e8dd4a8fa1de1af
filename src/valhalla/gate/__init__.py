"""What every request passes."""

from valhalla.gate.asgi import Gate
from valhalla.gate.metrics import HttpMetrics

__all__ = ["Gate", "HttpMetrics"]
