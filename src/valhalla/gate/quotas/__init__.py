"""Who counts requests by the rules of rate limits."""

from valhalla.gate.quotas.counting import Quotas

__all__ = ["Quotas"]
