"""What the gate's blocklist makes of a request: whose headers it believes, what it counts and remembers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from valhalla.features.security.blocklist import asking
from valhalla.features.security.blocklist.contracts import BlockRule
from valhalla.features.security.blocklist.doorman import Doorman
from valhalla.features.security.blocklist.errors import Blocked
from valhalla.features.security.blocklist.hits import Hits
from valhalla.features.security.blocklist.keeping import Keeper
from valhalla.features.security.blocklist.recent import Recent
from valhalla.features.security.blocklist.store import Line
from valhalla.features.security.blocklist.whence import Whence
from valhalla.gate import rules
from valhalla.kernel.principal import Principal

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GEO = {b"cf-ipcountry": b"KP", b"x-asn": b"AS64500"}


class Pages:
    """Rules and changes from memory, as the keeper reads them."""

    def __init__(self, *lines: Line) -> None:
        self.rules = list(lines)
        self.changes: list[Line] = []

    async def read(self, what: Any, *args: Any) -> Any:
        await asyncio.sleep(0)
        if what.__name__ == "head":
            return max((line.mark for line in self.changes), default=0)
        if what.__name__ == "since":
            return [line for line in self.changes if line.mark > args[0]][: args[1]]
        return [line for line in self.rules if line.mark > args[0]][: args[1]]


def doorman(keeper: Keeper) -> tuple[Doorman, Hits, Recent]:
    hits, recent = Hits(None, lambda: NOW), Recent(3)  # type: ignore[arg-type]
    made = Doorman(keeper, hits, recent, lambda: NOW, Whence("CF-IPCountry", "X-ASN"))
    return made, hits, recent


def ask(one: Doorman, path: str = "/", *, proxied: bool = False, headers: dict[bytes, bytes] | None = None) -> Any:
    return one.verdict("GET", path, "203.0.113.7", None, headers or {}, proxied=proxied)


def test_only_a_trusted_proxy_tells_the_country() -> None:
    for kind, value in (("country", "KP"), ("asn", "64500")):
        keeper = Keeper(None)  # type: ignore[arg-type]
        keeper.index.put("block", kind, value)  # type: ignore[arg-type]
        door, _, _ = doorman(keeper)
        assert ask(door, headers=GEO) is None
        assert isinstance(ask(door, headers=GEO, proxied=True), Blocked)
        assert ask(door, headers={b"cf-ipcountry": b"\xff\xff", b"x-asn": b"AS-"}, proxied=True) is None
    trusted = rules.networks(["10.0.0.0/8"])
    assert rules.is_proxied("10.1.1.1", trusted)
    assert not rules.is_proxied("203.0.113.7", trusted)
    assert not rules.is_proxied("10.1.1.1", ())


def test_it_counts_what_it_refuses_and_lets_probes_pass() -> None:
    keeper = Keeper(None)  # type: ignore[arg-type]
    keeper.index.put("block", "cidr", "203.0.113.0/24")
    door, hits, recent = doorman(keeper)
    principal = Principal("k1", "acme", frozenset())
    for path in ("/live", "/readyz"):
        assert ask(door, path) is None
    assert door.refusal("GET", "/", "203.0.113.9", principal) is not None
    assert (hits.total, len(recent)) == (0, 0)
    for n in range(5):
        assert ask(door, f"/{n}") is not None
    assert hits.of("cidr:203.0.113.0/24").hits == hits.total == 5
    assert [one.path for one in recent] == ["/2", "/3", "/4"]
    facts = asking()
    assert facts is not None
    assert (facts.path, facts.address) == ("/4", "203.0.113.7")
    tried = recent.impact([BlockRule("ip", "203.0.113.7")], keeper.index)
    # what is refused already is not what a rule would change
    assert (tried.blocked, tried.of) == (0, 3)


async def test_the_keeper_follows_by_revision_and_begins_again_where_history_is_missing() -> None:
    pages = Pages(Line("ip:192.0.2.1", "block", "ip", "192.0.2.1", 2**62))
    pages.changes = [Line(1, "block", "ip", "192.0.2.1", 2**62)]
    keeper = Keeper(pages)  # type: ignore[arg-type]
    await keeper.refresh()
    assert (keeper.revision, len(keeper.index.blocked)) == (1, 1)
    first = keeper.index

    pages.changes += [Line(2, "block", "ip", "192.0.2.2", 2**62), Line(3, "block", "ip", "192.0.2.1", None)]
    keeper.told(3)
    assert keeper.behind == 2
    await keeper.refresh()
    assert (keeper.revision, keeper.behind) == (3, 0)
    assert keeper.index is first
    assert keeper.index.blocked.address_key("192.0.2.1", 0) is None
    assert keeper.index.blocked.address_key("192.0.2.2", 0) == "ip:192.0.2.2"

    # history was pruned, and the rules are others meanwhile
    pages.changes = [Line(9, "block", "country", "KP", 2**62)]
    pages.rules = [Line("country:KP", "block", "country", "KP", 2**62), Line("odd", "block", "cel", "x", 2**62)]
    await keeper.refresh()
    assert (keeper.revision, keeper.index is first) == (9, False)
    assert keeper.index.blocked.address_key("192.0.2.2", 0) is None
    assert keeper.index.blocked.exact["country"] == {"KP": 2**62}
