"""Smoke suites as data: requests that must be answered as declared, run by a job, with every attempt kept."""

from valhalla.features.operations.deployments.smoke.contracts import (
    REMEDY,
    Check,
    JsonCheck,
    Order,
    Remedy,
    Suite,
    Undo,
)
from valhalla.features.operations.deployments.smoke.service import SmokeService

__all__ = ["REMEDY", "Check", "JsonCheck", "Order", "Remedy", "SmokeService", "Suite", "Undo"]
