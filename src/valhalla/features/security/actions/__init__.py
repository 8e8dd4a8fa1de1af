"""Requested security actions: typed, approved along chains, executed once."""

from valhalla.features.security.actions.feature import Actions

__all__ = ["Actions"]
