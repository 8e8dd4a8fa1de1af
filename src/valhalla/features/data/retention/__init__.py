"""How long data is kept: policies, legal holds, and purges that prove what they took."""

from valhalla.features.data.retention.contracts import Hold, Policy
from valhalla.features.data.retention.feature import Retention

__all__ = ["Hold", "Policy", "Retention"]
