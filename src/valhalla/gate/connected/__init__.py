"""A gate whose decisions are those of a control plane elsewhere."""

from valhalla.gate.connected.plane import Plane

__all__ = ["Plane"]
