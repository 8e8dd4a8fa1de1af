"""Configuration: typed entries with a history, read from snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from valhalla.features.operations.config.feature import Configuration

__all__ = ["Configuration"]


def __getattr__(name: str) -> object:
    # the command line reads documents with this package, and has no database
    if name == "Configuration":
        from valhalla.features.operations.config.feature import Configuration

        return Configuration
    raise AttributeError(name)
