"""The admin API: an overview, and actions that pass the guard."""

from valhalla.features.operations.admin.contracts import AdminAction
from valhalla.features.operations.admin.feature import Admin
from valhalla.features.operations.admin.service import AdminService

__all__ = ["Admin", "AdminAction", "AdminService"]
