"""What a rule may be, in which form it is kept, and what stands of two: pure."""

from valhalla.features.security.blocklist.rules.addresses import key_at, network_number, number_of, text_of
from valhalla.features.security.blocklist.rules.durations import go_duration, parse_duration
from valhalla.features.security.blocklist.rules.forms import (
    KEY,
    WIDEST,
    Network,
    address_rule,
    canonical,
    check,
    is_broad,
    key_of,
    network_of,
    networks_of,
    parts_of,
)
from valhalla.features.security.blocklist.rules.making import made, stronger

__all__ = [
    "KEY",
    "WIDEST",
    "Network",
    "address_rule",
    "canonical",
    "check",
    "go_duration",
    "is_broad",
    "key_at",
    "key_of",
    "made",
    "network_number",
    "network_of",
    "networks_of",
    "number_of",
    "parse_duration",
    "parts_of",
    "stronger",
    "text_of",
]
