"""Live events: what happens, told to who may know it, over server-sent events and WebSockets."""

from valhalla.features.observability.stream.feature import LiveEvents

__all__ = ["LiveEvents"]
