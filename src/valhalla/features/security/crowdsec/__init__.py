"""CrowdSec's local API over the blocklist: bouncers enforce it, agents feed it."""

from valhalla.features.security.crowdsec.feature import CrowdSec

__all__ = ["CrowdSec"]
