"""Subjects of publishers that are not ours: what is mapped, what a router makes of it, who has which part."""

from __future__ import annotations

import re
import secrets
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import kinds
from valhalla.sandbox.routing.foreign import accounts, patterns
from valhalla.sandbox.routing.foreign.contracts import PARTITIONS, EventSource
from valhalla.sandbox.routing.foreign.errors import SourceInvalid

CELL = CellKey.parse("f" * 43)
FOREIGN = natsauth.KeyPair.derive(CELL, "account", "theirs").public
MISTYPED = f"{FOREIGN[:-1]}{'A' if FOREIGN[-1] != 'A' else 'B'}"
LITERALS = st.text("abcXYZ019_-", min_size=1, max_size=6)
KEYS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_:@-]{0,20}", fullmatch=True)


@st.composite
def written(draw: st.DrawFn) -> str:
    """Return a legal subject: a word, the key, and what else there may be in any order."""
    rest = ["{key}", *draw(st.sampled_from([[], ["{type}"]])), *["*"] * draw(st.integers(0, 2))]
    rest += draw(st.lists(LITERALS, max_size=3))
    return ".".join(["w" + draw(LITERALS), *draw(st.permutations(rest))])


def source(subject: str, **more: Any) -> EventSource:
    return EventSource(**({"name": "orders", "subject": subject, "kind": "tenant"} | more))


def published(subject: str, key: str, words: list[str]) -> str:
    """Return a subject that a program publishes on."""
    given_ = iter(words)
    return ".".join(
        key if one == "{key}" else next(given_) if one in ("{type}", "*") else one for one in subject.split(".")
    )


def transformed(pattern: str, target: str, subject: str) -> str:
    """Do what a NATS server does with a mapping."""
    values = [have for want, have in zip(pattern.split("."), subject.split("."), strict=True) if want == "*"]
    return re.sub(r"\{\{wildcard\((\d+)\)\}\}", lambda found: values[int(found[1]) - 1], target)


@settings(max_examples=20, deadline=None)
@given(written(), KEYS, KEYS, st.lists(LITERALS, min_size=3, max_size=3))
def test_a_mapping_takes_its_key_and_no_other(subject: str, key: str, other: str, words: list[str]) -> None:
    """What is mapped says as much as the subject did; another key's is not matched, nor what is mapped already."""
    one = source(subject)
    pair = patterns.mapping(one, key)
    assert pair is not None
    wanted, target = pair
    event = published(subject, key, words)
    moved = transformed(wanted, target, event)
    assert kinds.matches(patterns.wanted(one), moved)
    assert not kinds.matches(wanted, moved)
    assert kinds.matches(wanted, event)
    assert kinds.matches(wanted, published(subject, other, words)) == (other == key)
    found = patterns.parse(subject)
    cut = re.sub(r"\{\{partition\([^)]*\)\}\}", "3", patterns.hop_subject(one))
    read = patterns.Reader(found).read(transformed(patterns.wanted(one), cut, moved))
    assert (read.key, read.subject) == (key, event if found.has_more else "")
    assert read.type == (found.fixed_type if found.type_at is None else event.split(".")[found.type_at])


@settings(max_examples=20, deadline=None)
@given(written(), st.sets(KEYS, min_size=2, max_size=5))
def test_mappings_of_claimed_keys_never_overlap(subject: str, keys: set[str]) -> None:
    """Of overlapping mappings a server applies either, and not always the same."""
    pairs = [patterns.mapping(source(subject), key) for key in keys]
    made = [pair[0] for pair in pairs if pair is not None]
    assert len(made) == len(keys)
    assert not any(kinds.overlap(one, other) for one in made for other in made if one != other)


@settings(max_examples=20, deadline=None)
@given(written(), KEYS, st.lists(LITERALS, min_size=3, max_size=3))
def test_a_router_reads_back_what_was_published(subject: str, key: str, words: list[str]) -> None:
    """Key and type come back from the stream's subject; the whole one where they do not say it."""
    one = source(subject, way="router")
    found = patterns.parse(subject)
    event = published(subject, key, words)
    target = re.sub(r"\{\{partition\([^)]*\)\}\}", "7", patterns.hop_subject(one))
    kept = transformed(found.wild, target, event)
    assert kinds.matches(patterns.part_filter(7), kept)
    read = patterns.Reader(found).read(kept)
    assert (read.key, read.subject) == (key, event if found.has_more else "")
    assert read.type == (found.fixed_type if found.type_at is None else event.split(".")[found.type_at])


@pytest.mark.parametrize(
    "subject",
    ["orders", "orders.{type}", "orders.{key}.{key}", "{key}.orders", "*.{key}", "ev.{key}", "rt.{key}", "_VH.{key}",
     "orders.{key}.>", "orders..{key}", "orders.{key}.a b", "$JS.{key}", "orders.{tenant}", "x." * 16 + "{key}",
     "_INBOX.{key}", "orders.{key}.é"],
)  # fmt: skip
def test_subjects_that_no_source_has(subject: str) -> None:
    """Without a key, a catch-all, or in somebody else's tree."""
    with pytest.raises(SourceInvalid):
        patterns.check(source(subject))


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "subject"}, {"kind": "No"}, {"account": "UP"}, {"account": "A" + "1" * 55}, {"stream": "ORDERS"},
     {"stream": "a.b", "way": "router"}, {"name": "Orders"}, {"account": FOREIGN},
     {"account": MISTYPED, "way": "router"}],
    ids=["patterns", "no-kind", "word", "key", "mapped-stream", "stream", "name", "foreign-mapping", "mistyped"],
)  # fmt: skip
def test_sources_that_cannot_be(wrong: dict[str, Any]) -> None:
    """Each member says why."""
    patterns.check(source("orders.{key}"))
    patterns.check(source("orders.{key}", account=FOREIGN, way="router"))
    with pytest.raises(SourceInvalid):
        patterns.check(source("orders.{key}", **wrong))


def test_a_key_that_is_no_token_is_not_mapped() -> None:
    """No subject has it as one token, so no event of it can come."""
    assert patterns.mapping(source("orders.{key}"), "a.b") is None


def test_sources_of_one_account_may_not_overlap() -> None:
    """In different accounts nothing of one is the other's."""
    one = source("orders.{key}.created")
    other = source("orders.{key}.{type}", name="all")
    assert patterns.overlapping(one, [one, other]) == other
    assert patterns.overlapping(one, [source("orders.{key}.{type}", name="all", account="b")]) is None
    assert patterns.overlapping(one, [source("orders.{key}.deleted", name="gone")]) is None


@settings(max_examples=20, deadline=None)
@given(st.sets(st.text("abc123", min_size=4, max_size=8), min_size=1, max_size=20))
def test_each_part_has_one_router(instances: set[str]) -> None:
    """All parts are somebody's, and as evenly as can be."""
    held = {mine: patterns.shares(instances, mine) for mine in instances}
    assert sorted(part for parts in held.values() for part in parts) == list(range(PARTITIONS))
    counts = [len(parts) for parts in held.values()]
    assert max(counts) - min(counts) <= 1


def test_what_others_wrote_into_an_account_stays() -> None:
    """Their imports, mappings and limits are not ours; ours are replaced, and go when nothing is claimed."""
    account = natsauth.KeyPair.derive(CELL, "account", "theirs").public
    theirs = {"name": "api", "account": account, "subject": "api.>", "type": "stream"}
    before = {
        "sub": account, "name": "SHOP", "exp": 4_000_000_000,
        "nats": {"limits": {"conn": 7}, "imports": [theirs], "mappings": {"a.*": [{"subject": "b.{{wildcard(1)}}"}]}},
    }  # fmt: skip
    pair = patterns.mapping(source("orders.{key}"), "k")
    assert pair is not None
    after, covered = accounts.amended(before, CELL, ["tenant"], dict([pair]))
    assert not covered
    assert (after["name"], after["exp"], after["nats"]["limits"]) == ("SHOP", 4_000_000_000, {"conn": 7})
    assert after["nats"]["imports"][0] == theirs
    assert [one["subject"] for one in after["nats"]["imports"][1:]] == ["ev.p.tenant.*.*"]
    assert set(after["nats"]["mappings"]) == {"a.*", "orders.k"}
    assert accounts.amended(after, CELL, ["tenant"], dict([pair])) == (after, [])
    assert accounts.amended(after, CELL, [], {}) == (before, [])


def test_a_mapping_of_the_accounts_own_wins() -> None:
    """Both would be there, and which one applies nobody knows."""
    before = {"sub": "A", "name": "SHOP", "nats": {"mappings": {"orders.*": [{"subject": "archive.{{wildcard(1)}}"}]}}}
    after, covered = accounts.amended(before, CELL, [], {"orders.k": "_VHC.orders.k"})
    assert covered == ["orders.k"]
    assert after == before


def test_credentials_open_one_sources_subjects() -> None:
    """A publisher may write its own; the same source has the same user, another role another one."""
    one = source("orders.{key}.{type}", account=f"a{secrets.token_hex(3)}")
    texts = [accounts.credentials(CELL, one, role) for role in ("publisher", "publisher", "account")]
    assert texts[0] == texts[1] != texts[2]
    claims = natsauth.decode_jwt(texts[0].split("\n")[1])["nats"]
    assert claims["pub"] == {"allow": ["orders.*.*", "_VHC.orders.>", "_INBOX.>"]}
    assert claims["sub"] == {"allow": ["_INBOX.>"]}
    with pytest.raises(ValueError, match="somebody else's"):
        accounts.credentials(
            CELL, source("orders.{key}", account=accounts.key_of(CELL, "x"), way="router"), "publisher"
        )
