"""The blocklist: who is not let in."""

from valhalla.features.security.blocklist.contracts import Blocking, BlockRule, Facts, Verdict
from valhalla.features.security.blocklist.doorman import asking
from valhalla.features.security.blocklist.feature import Blocklist

__all__ = ["BlockRule", "Blocking", "Blocklist", "Facts", "Verdict", "asking"]
