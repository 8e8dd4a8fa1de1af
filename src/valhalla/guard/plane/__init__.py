"""The guard inside the control plane: holds that people decide, and its lines in the ledger."""

from valhalla.guard.plane.desk import RequestDesk
from valhalla.guard.plane.feature import GuardedActions

__all__ = ["GuardedActions", "RequestDesk"]
