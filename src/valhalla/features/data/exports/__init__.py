"""Data in files: exports of tables, registries, views and sandboxes, by jobs that survive a crash."""

from valhalla.features.data.exports.contracts import Draft, Export
from valhalla.features.data.exports.feature import Exports
from valhalla.features.data.exports.wire import ConditionIn

__all__ = ["ConditionIn", "Draft", "Export", "Exports"]
