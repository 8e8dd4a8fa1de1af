"""The index of networks against ipaddress: the same network wins, whatever comes and goes."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.features.security.blocklist.cidr import Networks
from valhalla.features.security.blocklist.contracts import FOREVER
from valhalla.features.security.blocklist.rules import key_at, network_number, number_of, text_of

FAMILIES = {4: (32, 16), 6: (128, 32)}
Known = dict[tuple[int, int], int]


def network_of(family: int, number: int, length: int) -> Any:
    """The network as ipaddress has it; by its family, since a small number could be of either."""
    return (ipaddress.IPv4Network if family == 4 else ipaddress.IPv6Network)((number, length))


def winner(known: Known, bits: int, number: int, now: int) -> int:
    """The length of the smallest network that holds a number, found the long way."""
    return max(
        (
            length
            for (first, length), until in known.items()
            if until > now and first >> (bits - length) == number >> (bits - length)
        ),
        default=-1,
    )


@st.composite
def networks(draw: st.DrawFn, family: int) -> tuple[int, int]:
    bits, _ = FAMILIES[family]
    length = draw(st.integers(0, bits))
    # few different upper bits: networks shall lie in each other
    upper = draw(st.sampled_from([0, 1, 0xC0A8, 0xFFFF])) << (bits - 16)
    number = upper | draw(st.sampled_from([0, 1, 255, (1 << (bits - 16)) - 1, 1 << (bits - 24)]))
    return number >> (bits - length) << (bits - length), length


@pytest.mark.parametrize("family", [4, 6])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_it_finds_what_ipaddress_finds_while_rules_come_and_go(family: int, data: st.DataObject) -> None:
    bits, top = FAMILIES[family]
    index, known = Networks(bits, top), Known()
    for _ in range(data.draw(st.integers(1, 25))):
        number, length = data.draw(networks(family))
        if data.draw(st.integers(0, 3)):
            until = data.draw(st.sampled_from([5, 10, FOREVER]))
            index.put(number, length, until)
            known[number, length] = until
        else:
            assert index.remove(number, length) == (known.pop((number, length), None) is not None)
    assert index.count == len(known)
    now = data.draw(st.sampled_from([0, 5, 10]))
    for number, length in [*known, *(data.draw(networks(family)) for _ in range(5))]:
        for probe in (number, number | (1 << (bits - length)) - 1, number ^ 1):
            assert index.find(probe, now) == winner(known, bits, probe, now)
        whole = network_of(family, number, length)
        inside = {(n, size) for n, size, _ in index.within(number, length)}
        assert inside == {one for one in known if network_of(family, *one).subnet_of(whole)}
        around = [(n, size) for n, size, _ in index.covering(number, length, now)]
        assert around == sorted(
            (one for one, until in known.items() if until > now and network_of(family, *one).supernet_of(whole)),
            key=lambda one: -one[1],
        )


def drawn(family: int, count: int, rng: random.Random) -> Iterator[tuple[int, int]]:
    """Networks as lists have them: most are single addresses."""
    bits, _ = FAMILIES[family]
    places = [rng.getrandbits(32 if family == 4 else 48) for _ in range(count // 10)]
    for _ in range(count):
        length = bits if rng.random() < 0.8 else rng.randint(bits // 8, bits - 2)
        upper = rng.choice(places) << (0 if family == 4 else 80)
        number = upper ^ rng.getrandbits(12 if family == 4 else 76)
        yield number >> (bits - length) << (bits - length), length


def compare(family: int, rules: int, probes: int, seed: int) -> None:
    bits, top = FAMILIES[family]
    rng = random.Random(seed)
    index, known = Networks(bits, top), dict[Any, int]()
    for number, length in drawn(family, rules, rng):
        index.put(number, length)
        known[network_of(family, number, length)] = length
    assert index.count == len(known)
    chosen = list(known)
    hits = 0
    for turn in range(probes):
        if turn % 2:
            number = rng.getrandbits(bits)
        else:
            number = int(rng.choice(chosen).network_address) ^ rng.getrandbits(rng.choice([0, 3, 8, 12]))
        address = (ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address)(number)
        expected = next(
            (n for n in range(bits, -1, -1) if network_of(family, number >> bits - n << bits - n, n) in known), -1
        )
        found = number_of(str(address))
        assert found is not None
        # what is mapped is looked for in the other family
        if found[0] == family:
            assert index.find(found[1], 0) == expected
            hits += expected >= 0
    assert hits > probes // 5


@pytest.mark.parametrize("family", [4, 6])
def test_a_sample_of_probes_among_many_rules(family: int) -> None:
    compare(family, rules=2_000, probes=150, seed=11)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", [4, 6])
def test_a_hundred_thousand_probes_among_many_rules(family: int) -> None:
    compare(family, rules=100_000, probes=100_000 if family == 4 else 25_000, seed=12)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
@settings(max_examples=50, deadline=None)
def test_numbers_and_texts_agree_with_ipaddress_in_version_4(number: int, length: int) -> None:
    network = ipaddress.IPv4Network((number >> (32 - length) << (32 - length), length))
    text = str(network.network_address) if length == 32 else str(network)
    assert text_of(4, int(network.network_address), length) == text
    assert network_number(text) == (4, int(network.network_address), length)
    assert key_at(4, number, length).partition(":")[2] == text
    assert number_of(f"::ffff:{network.network_address}") == (4, int(network.network_address))


@given(st.integers(0, 2**128 - 1), st.integers(0, 128))
@settings(max_examples=50, deadline=None)
def test_numbers_and_texts_agree_with_ipaddress_in_version_6(number: int, length: int) -> None:
    network = ipaddress.IPv6Network((number >> (128 - length) << (128 - length), length))
    if network.network_address.ipv4_mapped is not None:
        return
    text = str(network.network_address) if length == 128 else str(network)
    assert text_of(6, int(network.network_address), length) == text
    assert network_number(text) == (6, int(network.network_address), length)


def test_what_is_no_address_is_none() -> None:
    for text in ("", "1.2.3", "1.2.3.4.5", "unknown", "::g", "1.2.3.4\x00", "testclient", "/run/socket"):
        assert number_of(text) is None
    assert number_of("fe80::1%eth0") == number_of("fe80::1")


def test_it_gives_its_memory_back_in_pieces() -> None:
    index = Networks(32, 16)
    for number, length in drawn(4, 2_000, random.Random(3)):
        index.put(number, length)
    pieces = sum(1 for _ in index.dismantle(slots=16))
    assert pieces > 10
    assert index.count == 0
    assert index.find(0, 0) == -1
