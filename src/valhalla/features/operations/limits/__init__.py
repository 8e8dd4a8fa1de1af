"""Rate limits: rules in a registry; the gate counts by them."""

from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.limits.feature import RateLimits

__all__ = ["LimitRule", "RateLimits"]
