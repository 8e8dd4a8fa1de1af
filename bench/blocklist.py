"""The blocklist: one address among a million networks, what a rule costs, and what loading does to the event loop.

Four fifths of the rules are single addresses, the others networks of /16 to /30; half of the probes aim at rules.
Addresses come as text, as a request has them. Loading goes through the keeper itself, over pages from memory.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.report import Figure, figure, publish

RULES = 1_000_000
PROBES = 100_000
_PAGE = 4096


def run() -> None:
    """Measure and publish."""
    rules, probes = rules_and_probes(4)
    figures = [*_ours(rules, probes), *_version_6(), *_decided(rules, probes), *asyncio.run(_loading(rules))]
    publish("Blocklist: lookup, memory and loading of a million networks", [*figures, *_peers(rules, probes)])


def rules_and_probes(family: int) -> tuple[list[tuple[int, int]], list[str]]:
    """Return networks as (number, length), and addresses as text."""
    from valhalla.features.security.blocklist.rules import text_of

    rng, bits = random.Random(7), 32 if family == 4 else 128
    rules: list[tuple[int, int]] = []
    # networks of version 6 lie where they are given out: below a few thousand prefixes of /32
    places = [0x20010000 + rng.getrandbits(28) for _ in range(4_000)]
    for _ in range(RULES):
        length = bits if rng.random() < 0.8 else rng.randint(16, 30) + (0 if family == 4 else 32)
        number = rng.getrandbits(32) if family == 4 else rng.choice(places) << 96 | rng.getrandbits(96)
        rules.append((number >> bits - length << bits - length, length))
    probes: list[str] = []
    for turn in range(PROBES):
        aimed = rules[rng.randrange(RULES)][0] | rng.getrandbits(2)
        probes.append(text_of(family, aimed if turn % 2 else rng.getrandbits(bits), bits))
    return rules, probes


def _ours(rules: list[tuple[int, int]], probes: list[str]) -> list[Figure]:
    from valhalla.features.security.blocklist.cidr import Networks
    from valhalla.features.security.blocklist.rules import number_of

    gc.collect()
    before, began = _resident(), time.perf_counter()
    index = Networks(32, 16)
    for number, length in rules:
        index.put(number, length)
    built, size = time.perf_counter() - began, (_resident() - before) / index.count

    def find(text: str) -> int:
        found = number_of(text)
        assert found is not None
        return index.find(found[1], 0.0)

    return [
        figure("valhalla lookup", "us", _each(find, probes), 2),
        figure("valhalla memory", "B/rule", [size], 80),
        figure("valhalla build", "s", [built], 2),
    ]


def _version_6() -> list[Figure]:
    from valhalla.features.security.blocklist.cidr import Networks
    from valhalla.features.security.blocklist.rules import number_of

    rules, probes = rules_and_probes(6)
    index = Networks(128, 32)
    for number, length in rules:
        index.put(number, length)

    def find(text: str) -> int:
        found = number_of(text)
        assert found is not None
        return index.find(found[1], 0.0)

    return [figure("valhalla lookup, IPv6", "us", _each(find, probes))]


def _decided(rules: list[tuple[int, int]], probes: list[str]) -> list[Figure]:
    """Return what the gate's whole question costs, of requests that pass."""
    from valhalla.features.security.blocklist.contracts import Facts
    from valhalla.features.security.blocklist.matching import Index, decide

    index = Index()
    for number, length in rules:
        index.blocked.v4.put(number, length)
    facts = [Facts("GET", "/", text, "acme", "k1", "Mozilla/5.0") for text in probes[::2]]
    return [figure("valhalla whole decision, let in", "us", _each(lambda one: decide(index, one, 0.0), facts))]


class _Pages:
    """In place of the database: pages of rules from memory."""

    def __init__(self, lines: list[Any]) -> None:
        self._lines = lines

    async def read(self, what: Any, *args: Any) -> Any:
        await asyncio.sleep(0)
        if what.__name__ == "head":
            return 1
        if what.__name__ == "page":
            after, most = args
            begin = 0 if after == "" else int(after) + 1
            return self._lines[begin : begin + most]
        return []


async def _loading(rules: list[tuple[int, int]]) -> list[Figure]:
    from valhalla.features.security.blocklist.contracts import FOREVER
    from valhalla.features.security.blocklist.keeping import Keeper
    from valhalla.features.security.blocklist.rules import text_of
    from valhalla.features.security.blocklist.store import Line

    lines = [
        Line(str(place), "block", "ip" if length == 32 else "cidr", text_of(4, number, length), FOREVER)
        for place, (number, length) in enumerate(rules)
    ]
    keeper = Keeper(_Pages(lines))  # type: ignore[arg-type]
    await keeper.refresh()
    # a million tuples stand in for the database here: as in a server, what was there before is no business of the
    # collector, and it looks as seldom
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    pauses: list[float] = []
    done = asyncio.Event()

    async def watch() -> None:
        last = time.perf_counter()
        while not done.is_set():
            await asyncio.sleep(0)
            now = time.perf_counter()
            pauses.append((now - last) * 1e3)
            last = now

    watching = asyncio.create_task(watch())
    # as after a restored backup: all is read anew while the old index is asked, then swapped and given back
    keeper.revision = 2
    began = time.perf_counter()
    await keeper.refresh()
    taken = time.perf_counter() - began
    done.set()
    await watching
    pauses.sort()
    return [
        figure("reload beside requests", "s", [taken]),
        figure("longest pauses of the event loop", "ms", pauses[-20:], 5, tail=True),
    ]


def _peers(rules: list[tuple[int, int]], probes: list[str]) -> list[Figure]:
    import pytricia
    import radix

    from valhalla.features.security.blocklist.rules import text_of

    texts = [text_of(4, number, length) + ("/32" if length == 32 else "") for number, length in rules]
    figures: list[Figure] = []
    gc.collect()
    before, began = _resident(), time.perf_counter()
    tree: Any = pytricia.PyTricia(32)
    for text in texts:
        tree[text] = 1
    figures.append(figure("pytricia build", "s", [time.perf_counter() - began]))
    figures.append(figure("pytricia memory", "B/rule", [(_resident() - before) / len(texts)]))
    figures.append(figure("pytricia lookup", "us", _each(tree.__contains__, probes)))
    gc.collect()
    before, began = _resident(), time.perf_counter()
    other: Any = radix.Radix()
    for text in texts:
        other.add(text)
    figures.append(figure("py-radix build", "s", [time.perf_counter() - began]))
    figures.append(figure("py-radix memory", "B/rule", [(_resident() - before) / len(texts)]))
    figures.append(figure("py-radix lookup", "us", _each(other.search_best, probes)))
    return figures


def _each(call: Callable[[Any], object], arguments: list[Any]) -> list[float]:
    """Time every call by itself, in microseconds."""
    clock = time.perf_counter_ns
    samples: list[float] = []
    for argument in arguments:
        began = clock()
        call(argument)
        samples.append((clock() - began) / 1e3)
    return samples


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
