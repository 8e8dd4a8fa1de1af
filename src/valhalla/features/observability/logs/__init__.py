"""Log lines that can be searched: the process's own, the gate's, and those that clients send."""

from valhalla.features.observability.logs.feature import Logs
from valhalla.features.observability.logs.intake import Intake

__all__ = ["Intake", "Logs"]
