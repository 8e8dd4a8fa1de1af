"""The warm pool: slots that are complete in every backend before anybody asks for a sandbox.

A slot is a sandbox in status ``pending`` without an owner. The filler builds it, a process reserves some for itself,
and a claim turns one into a running sandbox with a single commit.
"""

from valhalla.sandbox.pool.checkout import Checkout
from valhalla.sandbox.pool.claims import Claim, Claims, Outcome
from valhalla.sandbox.pool.contracts import PoolSettings
from valhalla.sandbox.pool.endings import Endings
from valhalla.sandbox.pool.filler import Filler
from valhalla.sandbox.pool.stock import Slot, Stock

__all__ = ["Checkout", "Claim", "Claims", "Endings", "Filler", "Outcome", "PoolSettings", "Slot", "Stock"]
