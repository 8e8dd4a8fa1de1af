"""Maintenance: who may write when, by the state an operator sets and by windows that are planned."""

from valhalla.features.operations.maintenance.contracts import Mode, Standing, State, Window
from valhalla.features.operations.maintenance.errors import ReadOnly
from valhalla.features.operations.maintenance.feature import Maintenance

__all__ = ["Maintenance", "Mode", "ReadOnly", "Standing", "State", "Window"]
