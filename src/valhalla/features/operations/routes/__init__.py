"""The index of routes: what is served, what stands in the way of a request, and what changed since the last boot."""

from valhalla.features.operations.routes.contracts import Route
from valhalla.features.operations.routes.feature import Routes

__all__ = ["Route", "Routes"]
