"""Checks that say whether something can do its work. Need no server and no event loop; async ones run on either."""

from valhalla.kit.checks.checks import Checks
from valhalla.kit.checks.contracts import Check, Report, Result, Verdict

__all__ = ["Check", "Checks", "Report", "Result", "Verdict"]
