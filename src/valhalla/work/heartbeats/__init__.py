"""Signs of life that the watched things send themselves, and who misses them."""

from valhalla.work.heartbeats.contracts import Heartbeat
from valhalla.work.heartbeats.heart import Heart, Times
from valhalla.work.heartbeats.store import beat, every, expect, fail, forget, miss, read, start

__all__ = ["Heart", "Heartbeat", "Times", "beat", "every", "expect", "fail", "forget", "miss", "read", "start"]
