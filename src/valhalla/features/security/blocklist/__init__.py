"""The blocklist: who is not let in."""

from valhalla.features.security.blocklist.contracts import Blocking, BlockRule, Facts, Verdict

__all__ = ["BlockRule", "Blocking", "Facts", "Verdict"]
