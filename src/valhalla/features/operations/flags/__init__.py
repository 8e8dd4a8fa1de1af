"""Feature flags in flagd's format, evaluated here and over OFREP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from valhalla.features.operations.flags.feature import Flags

__all__ = ["Flags"]


def __getattr__(name: str) -> object:
    # clients evaluate with this package, and have no database
    if name == "Flags":
        from valhalla.features.operations.flags.feature import Flags

        return Flags
    raise AttributeError(name)
