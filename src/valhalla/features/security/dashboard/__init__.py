"""The security dashboard: what stands, what waits, and how it went, from counts that are kept anyway."""

from valhalla.features.security.dashboard.feature import Dashboard

__all__ = ["Dashboard"]
