"""What a rule may be, and for which requests it holds: pure."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from valhalla.features.security.blocklist.contracts import TYPES, Action, BlockRule, RuleType
from valhalla.features.security.blocklist.errors import BadRule

# it may hold slashes; which rule a key names is checked where one is written
KEY: Final = r"[a-z][A-Za-z0-9_.:@/=-]{1,220}"
# wider networks than these are more than any one offender has
WIDEST: Final = {4: 8, 6: 16}
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.@-]{1,128}")
_WORD: Final = re.compile(r"[A-Za-z0-9_.:@/+-]{1,64}")
_MAPPED: Final = 96
_MOST_TEXT: Final = 500
_MOST_STARS: Final = 8


class _Form(NamedTuple):
    """What values of a type look like; a ``short`` one is stripped of blanks."""

    pattern: re.Pattern[str]
    wanted: str
    short: bool = False


_FORMS: Final[Mapping[str, _Form]] = MappingProxyType(
    {
        "country": _Form(re.compile(r"[A-Za-z]{2}"), "a country is two letters (ISO 3166): 'DE'", short=True),
        "asn": _Form(re.compile(r"(?i:AS)?([0-9]{1,10})"), "an ASN is a number from 1 to 4294967295", short=True),
        "path": _Form(
            re.compile(r"/[^*\x00-\x1f]{0,499}\*?"), "a path begins with '/', a star only at its end: '/wp-admin/*'"
        ),
        "user_agent": _Form(
            re.compile(r"(?=.*[^*\s])[^\x00-\x1f]{1,500}"),
            f"a user agent is up to {_MOST_TEXT} characters, of which {_MOST_STARS} may be stars",
        ),
        "principal": _Form(re.compile(r"[^\x00-\x1f]{1,128}"), "an owner is text of up to 128 characters"),
        "api_key": _Form(re.compile(r"[^\x00-\x1f]{1,128}"), "'api_key' wants the id of an API client"),
        "cel": _Form(re.compile(r"[^\x00]{1,2000}"), "a condition has up to 2000 characters"),
    }
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network_of(text: str, *, lenient: bool = False) -> Network:
    """Read an address or a network; an IPv4 address that is mapped into IPv6 is the IPv4 address.

    With ``lenient`` the bits that a length leaves out are cleared, as CrowdSec does.

    Raises:
        BadRule: it is none, or has bits set that its length leaves out (``10.0.0.1/8``: which one was meant?).
    """
    try:
        # a zone names an interface of one machine: no two mean the same
        found = ipaddress.ip_network("" if "%" in text else text.strip(), strict=not lenient)
    except ValueError as error:
        raise BadRule(f"{text[:64]!a} is no address or network ({_why(text)})") from error
    return _plain(found)


def networks_of(text: str, *, lenient: bool = False) -> list[Network]:
    """Read an address, a network or a range (``203.0.113.5-203.0.113.9``) as the fewest networks that are it.

    Raises:
        BadRule: it is none; a range is of one family and goes upwards.
    """
    first, dash, last = text.partition("-")
    if not dash:
        return [network_of(text, lenient=lenient)]
    low, high = network_of(first), network_of(last)
    if low.num_addresses != 1 or high.num_addresses != 1:
        raise BadRule("a range goes from one address to another")
    if low.version != high.version:
        raise BadRule("a range has two addresses of one family")
    if int(low.network_address) > int(high.network_address):
        raise BadRule(f"the range {text[:96]!a} goes downwards", help="Write the lower address first.")
    return list(ipaddress.summarize_address_range(low.network_address, high.network_address))  # type: ignore[type-var]


def canonical(type: RuleType, value: str) -> tuple[RuleType, str]:  # noqa: A002 - the member's name on the wire
    """Return the one form of a rule's type and value: a network of one address is an ``ip``.

    Raises:
        BadRule: the value is none of the type.
    """
    if "\x00" in value or not value.strip():
        raise BadRule("a value is text without NUL, and not empty")
    if type in ("ip", "cidr"):
        return address_rule(type, value)
    form = _FORMS[type]
    found = form.pattern.fullmatch(value.strip() if form.short else value)
    if found is None or value.count("*") > _MOST_STARS:
        raise BadRule(form.wanted)
    if type == "asn":
        return type, _asn(found[1])
    return type, {"country": str.upper, "user_agent": str.lower}.get(type, str)(found[0])


def _asn(digits: str) -> str:
    if not 0 < int(digits) < 2**32:
        raise BadRule(_FORMS["asn"].wanted)
    return str(int(digits))


def address_rule(type: RuleType, value: str) -> tuple[RuleType, str]:  # noqa: A002
    """Return the one form of a rule about addresses.

    Raises:
        BadRule: it is no address or network; a range that is several networks is imported, not written as one rule.
    """
    found = networks_of(value)
    if len(found) != 1:
        raise BadRule("this range is no single network", help="Import it: a range becomes the networks that it is.")
    single = found[0].num_addresses == 1
    if type == "ip" and not single:
        raise BadRule("an 'ip' is one address", help="Use the type 'cidr' for networks.")
    return ("ip", str(found[0].network_address)) if single else ("cidr", str(found[0]))


def key_of(action: Action, type: RuleType, value: str) -> str:  # noqa: A002
    """Return the key of a rule whose value is canonical: two writers of one rule mean one record."""
    if type not in ("ip", "cidr") and _PLAIN.fullmatch(value) is None:
        value = f"={hashlib.sha256(value.encode()).hexdigest()[:32]}"
    return f"allow:{type}:{value}" if action == "allow" else f"{type}:{value}"


def parts_of(key: str) -> tuple[Action, RuleType, str] | None:
    """Return what a key says; the value of one that only names a digest is not in it: ``None``."""
    action: Action = "allow" if key.startswith("allow:") else "block"
    kind, colon, value = key.removeprefix("allow:").partition(":")
    if not colon or kind not in TYPES or value.startswith("="):
        return None
    return action, kind, value


def is_broad(rule: BlockRule) -> bool:
    """Say whether a rule would block a sizeable part of everybody."""
    if rule.action == "allow":
        return False
    if rule.type == "cidr":
        network = ipaddress.ip_network(rule.value)
        return network.prefixlen < WIDEST[network.version]
    return rule.type == "path" and rule.value in ("/*", "/")


def check(rule: BlockRule) -> None:
    """Accept a rule that is stored in its one form.

    Raises:
        BadRule: it is not.
    """
    if canonical(rule.type, rule.value) != (rule.type, rule.value):
        kind, value = canonical(rule.type, rule.value)
        raise BadRule(f"the canonical form of this rule is {kind} {value!a}")
    if rule.expires_at is not None and (rule.expires_at.microsecond or rule.expires_at.tzinfo is None):
        raise BadRule("a rule expires at a whole second, in UTC")
    for name, text in (("source", rule.source), ("remediation", rule.remediation)):
        if _WORD.fullmatch(text) is None:
            raise BadRule(f"a {name} is 1 to 64 of A-Z, a-z, 0-9 and '_.:@/+-'")
    if rule.reason is not None and (len(rule.reason) > _MOST_TEXT or "\x00" in rule.reason):
        raise BadRule(f"a reason has up to {_MOST_TEXT} characters")


def _why(text: str) -> str:
    """Say what is wrong with a network, as far as its form tells."""
    try:
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return "write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32"
    return "it has bits set that its length leaves out"


def _plain(one: Network) -> Network:
    if isinstance(one, ipaddress.IPv6Network) and one.prefixlen >= _MAPPED:
        mapped = one.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((int(mapped), one.prefixlen - _MAPPED))
    return one
