"""Unexpected errors: one row for each kind, counted, shown with a traceback, and settled."""

from valhalla.features.observability.failures.contracts import Failure
from valhalla.features.observability.failures.feature import Failures
from valhalla.features.observability.failures.recorder import Recorder
from valhalla.features.observability.failures.service import FailureService

__all__ = ["Failure", "FailureService", "Failures", "Recorder"]
