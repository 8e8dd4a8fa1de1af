"""Honeypots: sensors that send what they catch, and decoys of our own that nobody has a reason to touch."""

from valhalla.features.security.honeypots.contracts import Decoy, Honeypot
from valhalla.features.security.honeypots.feature import Honeypots

__all__ = ["Decoy", "Honeypot", "Honeypots"]
