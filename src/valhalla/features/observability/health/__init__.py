"""Readiness from evidence, and what the numbers were."""

from valhalla.features.observability.health.contracts import Phase, Sample
from valhalla.features.observability.health.feature import Health

__all__ = ["Health", "Phase", "Sample"]
