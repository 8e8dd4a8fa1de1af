"""Registries in memory: immutable snapshots that follow every commit."""

from valhalla.kit.changes.feed import Feed
from valhalla.kit.changes.snapshot import Snapshot
from valhalla.kit.changes.view import View

__all__ = ["Feed", "Snapshot", "View"]
