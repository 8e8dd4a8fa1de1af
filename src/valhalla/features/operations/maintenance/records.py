"""The registries of maintenance."""

from __future__ import annotations

from typing import Final

from valhalla.features.operations.maintenance import recurrence, rules
from valhalla.features.operations.maintenance.contracts import State, Told, Window
from valhalla.kit.changes import Feed
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Registry

STATE: Final = "maintenance_state"
WINDOWS: Final = "maintenance_windows"
TOLD: Final = "maintenance_told"
KEY: Final = "current"
"""The one record of the state, and of what was told."""


class Records:
    """What is set, what is planned, and what the events have said of it."""

    def __init__(self, ledger: Ledger) -> None:
        self.state: Registry[State] = Registry(STATE, State, ledger, validate=rules.check_state)
        self.windows: Registry[Window] = Registry(WINDOWS, Window, ledger, validate=recurrence.check)
        self.told: Registry[Told] = Registry(TOLD, Told, ledger)

    def follow(self, feed: Feed) -> None:
        """Let the feed load and follow all of them."""
        for registry in (self.state, self.windows, self.told):
            feed.add(registry)
