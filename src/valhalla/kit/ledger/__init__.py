"""The append-only, hash-chained record of who did what."""

from valhalla.kit.ledger.ledger import Ledger
from valhalla.kit.ledger.sealer import Sealer
from valhalla.kit.ledger.values import Anchor, Entry, Fault, Verification, Witness

__all__ = ["Anchor", "Entry", "Fault", "Ledger", "Sealer", "Verification", "Witness"]
