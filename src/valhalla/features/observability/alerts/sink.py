"""Domain events as alerts."""

from __future__ import annotations

from collections.abc import Sequence

from valhalla.features.observability.alerts import catalogue
from valhalla.features.observability.alerts.recording import Recorder
from valhalla.kit.outbox import Event


class AlertSink:
    """Takes every domain event and writes those that the catalogue knows; each is counted once."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def deliver(self, events: Sequence[Event]) -> None:
        """Write what the events mean.

        Raises:
            Unavailable: the database cannot be reached; they are offered again.
        """
        raised = [(event.id, one) for event in events for one in catalogue.translate(event.type, event.data, event.at)]
        if raised:
            await self._recorder.write_events(raised)
