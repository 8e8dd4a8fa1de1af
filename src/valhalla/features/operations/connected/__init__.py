"""What applications behind a gate of their own take from here: keys, limits and maintenance, at one revision."""

from valhalla.features.operations.connected.feature import Connected

__all__ = ["Connected"]
