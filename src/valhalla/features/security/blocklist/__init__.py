"""The blocklist: who is not let in."""

from valhalla.features.security.blocklist.blocking import Blocking
from valhalla.features.security.blocklist.contracts import BlockRule, Facts, Verdict
from valhalla.features.security.blocklist.doorman import asking
from valhalla.features.security.blocklist.feature import Blocklist
from valhalla.features.security.blocklist.feeding import Feeding
from valhalla.features.security.blocklist.keeping import Keeper

__all__ = ["BlockRule", "Blocking", "Blocklist", "Facts", "Feeding", "Keeper", "Verdict", "asking"]
