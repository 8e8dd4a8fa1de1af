"""Secrets of channels at rest."""

from __future__ import annotations

from valhalla.features.data.notifications.contracts import Secrets
from valhalla.kit.cellkey import CellKey
from valhalla.kit.sealing import Sealer


def sealer(cell: CellKey) -> Sealer[Secrets]:
    """Return what seals them, under the channel's name."""
    return Sealer(cell, "notifications.channel", Secrets, "notification channel")
