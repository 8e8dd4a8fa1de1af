"""What every request passes."""

from valhalla.gate.accesslog import AccessLog, EachLine
from valhalla.gate.asgi import Gate
from valhalla.gate.cors import Cors
from valhalla.gate.hooks import Bounds, Hooks
from valhalla.gate.metrics import HttpMetrics
from valhalla.gate.switchboard import Switchboard

__all__ = ["AccessLog", "Bounds", "Cors", "EachLine", "Gate", "Hooks", "HttpMetrics", "Switchboard"]
