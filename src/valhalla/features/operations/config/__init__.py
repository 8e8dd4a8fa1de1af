"""Configuration: typed entries with a history, read from snapshots."""

from valhalla.features.operations.config.contracts import Entry
from valhalla.features.operations.config.feature import Configuration

__all__ = ["Configuration", "Entry"]
