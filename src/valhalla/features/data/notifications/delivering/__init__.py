"""What delivers: one process at a time, each channel in order, many channels side by side."""

from valhalla.features.data.notifications.delivering.deliverer import Deliverer
from valhalla.features.data.notifications.delivering.outfit import Outfit

__all__ = ["Deliverer", "Outfit"]
