"""Domain events: rows written with their cause, delivered at least once, in order per subject."""

from valhalla.kit.outbox.dispatcher import Dispatcher
from valhalla.kit.outbox.events import Event, Sink
from valhalla.kit.outbox.nats import NatsSink
from valhalla.kit.outbox.store import compose, emit, emit_many

__all__ = ["Dispatcher", "Event", "NatsSink", "Sink", "compose", "emit", "emit_many"]
