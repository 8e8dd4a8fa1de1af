"""Who counts requests by the rules of rate limits."""

from valhalla.gate.quotas.counting import Quotas
from valhalla.gate.quotas.fleet import Fleet

__all__ = ["Fleet", "Quotas"]
