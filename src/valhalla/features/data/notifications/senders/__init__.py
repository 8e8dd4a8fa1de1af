"""How a message leaves, by kind of channel: each sender tries once and says what came of it."""

from valhalla.features.data.notifications.senders.contracts import Prepared, Result, Sender

__all__ = ["Prepared", "Result", "Sender"]
