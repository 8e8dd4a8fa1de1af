"""Feature flags in flagd's format, evaluated here and over OFREP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from valhalla.features.operations.flags.feature import Flags
    from valhalla.features.operations.flags.reading import flags_of

__all__ = ["Flags", "flags_of"]


def __getattr__(name: str) -> object:
    # clients evaluate with this package, and have no database
    if name == "Flags":
        from valhalla.features.operations.flags.feature import Flags

        return Flags
    if name == "flags_of":
        from valhalla.features.operations.flags.reading import flags_of

        return flags_of
    raise AttributeError(name)
