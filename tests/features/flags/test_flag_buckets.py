"""Buckets never move: golden files that the reference evaluators wrote, shares that come out, growth that only adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from valhalla.features.operations.flags.cbor import canonical
from valhalla.features.operations.flags.contracts import Flag
from valhalla.features.operations.flags.evaluating import FlagSet
from valhalla.features.operations.flags.fractions import Generation
from valhalla.features.operations.flags.murmur import murmur3

SHARES = [["a", 10], ["b", 25], ["c", 0], ["d", 40], ["e", 25]]
LETTERS = {letter: letter for letter in "abcde"}


def flag(key: str, shares: Any, **members: Any) -> Flag:
    return Flag(key=key, variants=LETTERS, targeting={"fractional": shares}, **members)


def flags(*some: Flag) -> FlagSet:
    return FlagSet({one.key: (one, 1) for one in some})


@pytest.mark.parametrize("generation", ["v2", "v3"])
def test_ten_thousand_keys_are_where_the_reference_puts_them(generation: Generation) -> None:
    by = {"cat": [{"var": "$flagd.flagKey"}, {"var": "account.id"}]}
    among = flags(flag("implicit", SHARES, buckets=generation), flag("by", [by, *SHARES], buckets=generation))
    golden = (Path(__file__).parent / "golden" / f"buckets-{generation}.txt").read_text().replace("\n", "")
    found: list[str] = []
    for n in range(10_000):
        name = (f"user-{n}", f"ü{n}@example.com", f"{n * 7919:032x}", f"客户{n}")[n % 4]
        context = {"targetingKey": name, "account": {"id": name}}
        found.append(among.evaluate(("implicit", "by")[n // 4 % 2], context).variant)
    assert "".join(found) == golden


def test_a_split_grows_without_moving_anybody_back() -> None:
    steps = (5, 10, 50, 90)
    among = flags(*(flag(f"f{n}", [{"var": "targetingKey"}, ["a", n], ["b", 100 - n]]) for n in steps))
    counts = dict.fromkeys(steps, 0)
    for n in range(4_000):
        before = False
        for step in steps:
            inside = among.evaluate(f"f{step}", {"targetingKey": f"k{n}"}).variant == "a"
            counts[step] += inside
            assert inside or not before
            before = inside
    for step, count in counts.items():
        assert abs(count / 40 - step) < 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_million_keys_are_split_within_three_tenths_of_a_point() -> None:
    among = flags(flag("ten", [["a", 10], ["b", 90]]), flag("half", [["a", 50], ["b", 50]]))
    for key, share in (("ten", 0.10), ("half", 0.50)):
        inside = sum(among.evaluate(key, {"targetingKey": f"user-{n}"}).variant == "a" for n in range(1_000_000))
        assert abs(inside / 1_000_000 - share) < 0.003


def test_known_hashes() -> None:
    assert [murmur3(data) for data in (b"", b"a", b"ab", b"abc", b"abcd", b"hello, world")] == [
        0, 0x3C2569B2, 0x9BBFD75F, 0xB3DD93FA, 0x43ED676A, 0x149BBB7F,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (None, "f6"), (True, "f5"), (0, "00"), (23, "17"), (24, "1818"), (-1, "20"), (1000, "1903e8"),
        (2**64 - 1, "1bffffffffffffffff"), (1.0, "01"), (1.5, "f93e00"), (0.1, "fb3fb999999999999a"),
        (100000.5, "fa47c35040"), ("ü", "62c3bc"), (["f", 1], "82616601"), ({"bb": 1, "a": 2}, "a261610262626201"),
    ],
    ids=range(15),
)  # fmt: skip
def test_canonical_forms(value: Any, raw: str) -> None:
    assert canonical(value).hex() == raw


def test_what_no_bucket_can_be_made_of() -> None:
    among = flags(
        flag("none", [{"var": "missing"}, ["a", 1]], defaultVariant="e"),
        flag("huge", [{"var": "n"}, ["a", 1]], defaultVariant="e"),
        flag("rule", [{"var": "n"}, ["a", {"var": "weight"}], ["b", 1]], defaultVariant="e"),
    )
    assert among.evaluate("none", {}).variant == "e"
    assert among.evaluate("huge", {"n": 2**70}).variant == "e"
    assert among.evaluate("rule", {"n": 1, "weight": "many"}).variant == "e"
    assert among.evaluate("rule", {"n": 1, "weight": -5}).variant == "b"
    assert among.evaluate("rule", {"n": 1, "weight": 10**9}).variant == "a"
