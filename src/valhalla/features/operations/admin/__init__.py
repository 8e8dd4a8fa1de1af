"""The admin API: an overview, and actions that pass the guard."""

from valhalla.features.operations.admin.contracts import AdminAction
from valhalla.features.operations.admin.feature import Admin

__all__ = ["Admin", "AdminAction"]
