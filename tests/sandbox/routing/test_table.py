"""Routes: kinds and their keys, patterns, and the table that an ingress looks events up in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.kernel.problems import Invalid
from valhalla.sandbox import rules
from valhalla.sandbox.routing import kinds, subjects
from valhalla.sandbox.routing.contracts import Record
from valhalla.sandbox.routing.table import NOWHERE, RouteTable, encode, sampled

ONE, OTHER = "a" * 16, "b" * 16
tokens = st.sampled_from(["a", "b", "c"])
subjects_of = st.lists(tokens, min_size=1, max_size=5).map(".".join)
patterns = st.builds(
    lambda first, rest, end: ".".join([first, *rest, *end]),
    tokens,
    st.lists(tokens | st.just("*"), max_size=3),
    st.sampled_from([[], [">"]]),
)


@pytest.mark.parametrize(
    ("kind", "key", "source", "kept"),
    [
        ("discord.guild", "811234567890123456", "discord", "811234567890123456"),
        ("header", "X-User=alice@example.com", "http", "x-user=alice@example.com"),
        ("tenant", "acme:eu", "tenant", "acme:eu"),
        ("subject", "orders.*.created", "subject", "orders.*.created"),
        ("telegram.chat", "-", None, None),
        ("telegram.chat_room", "12", "telegram-chat--room", "12"),
        ("header", "x-user", None, None),
        ("header", "x=$(touch y)", None, None),
        ("header", "x=a,b", None, None),
        ("subject", ">", None, None),
        ("subject", "*.a", None, None),
        ("subject", "a.>.b", None, None),
        ("subject", "a..b", None, None),
        ("discord", "811234567890123456", None, None),
        ("http", "a", None, None),
        ("discord.guild", "1", None, None),
        ("discord.channel", "1", None, None),
        ("Nope", "1", None, None),
    ],
    ids=range(18),
)
def test_kinds(kind: str, key: str, source: str | None, kept: str | None) -> None:
    """Each kind takes its keys, in one spelling; a name that another kind's events have is none."""
    if kept is None:
        with pytest.raises(Invalid):
            rules.check_route(kind, key)
    else:
        assert (kinds.source_of(kind), rules.check_route(kind, key).key) == (source, kept)


@settings(max_examples=30)
@given(st.lists(st.from_regex(r"[a-z][a-z0-9]{0,3}(\.[a-z][a-z0-9_]{0,4}){0,3}", fullmatch=True), max_size=30))
def test_two_kinds_have_two_sources(names: list[str]) -> None:
    """No kind takes the events of another."""
    found: dict[str, str] = {}
    for name in [*names, *kinds.KINDS]:
        try:
            source = kinds.source_of(name)
        except kinds.KindFormError:
            continue
        assert subjects.check_source(source) == source
        assert found.setdefault(source, name) == name


@settings(max_examples=30)
@given(patterns, patterns, subjects_of)
def test_overlap_is_no_opinion(one: str, other: str, subject: str) -> None:
    """Patterns that one subject falls under overlap."""
    if kinds.matches(one, subject) and kinds.matches(other, subject):
        assert kinds.overlap(one, other)
    assert kinds.overlap(one, other) == kinds.overlap(other, one)


@settings(max_examples=30)
@given(patterns, patterns)
def test_overlapping_patterns_share_a_subject(one: str, other: str) -> None:
    """Patterns that overlap have a subject in common, so nobody is refused for nothing."""
    left, right = one.split("."), other.split(".")
    size = max(len(left), len(right))
    wide = [(each[:-1] + ["*"] * (size - len(each) + 1)) if each[-1] == ">" else each for each in (left, right)]
    shared = [(b if a == "*" else a).replace("*", "z") for a, b in zip(*wide, strict=False)]
    both = len(wide[0]) == len(wide[1]) and all(kinds.matches(each, ".".join(shared)) for each in (one, other))
    assert kinds.overlap(one, other) == both


def put(table: RouteTable, key: str, record: Record | None, epoch: int, source: str = "tenant") -> None:
    """Apply one record."""
    body = b"" if record is None else encode(record)
    table.apply(f"rt.{subjects.address(source, key)}", body, epoch)


@settings(max_examples=30)
@given(st.lists(st.tuples(tokens, st.sampled_from([None, ONE, OTHER]), st.booleans()), max_size=20), st.randoms())
def test_the_newest_record_counts_in_any_order(history: list[tuple[str, str | None, bool]], random: object) -> None:
    """Records that come twice or out of order end where those in order do."""
    entries = [
        (key, Record("tenant", sandbox, "mirror" if mirror else "steal"), epoch)
        for epoch, (key, sandbox, mirror) in enumerate(history, 1)
    ]
    shuffled = entries * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    table = RouteTable()
    for key, record, epoch in shuffled:
        put(table, key, record, epoch)

    last = {key: record for key, record, _ in entries}
    for key in "abc":
        way = table.way("tenant", key)
        record = last.get(key, Record(""))
        assert (way.mirror if record.mode == "mirror" else way.sandbox) == record.sandbox
        assert (way.sandbox if record.mode == "mirror" else way.mirror) is None
    assert table.epoch == len(entries)


def test_an_end_is_a_release() -> None:
    """The server's marker, and a record that nobody can read, make the key production's."""
    table = RouteTable()
    put(table, "a", Record("tenant", ONE), 1)
    put(table, "b", Record("tenant", ONE), 2)
    put(table, "a", None, 3)
    table.apply("rt.tenant.b", b'{"kind": "tenant", "sandbox": "*"}', 4)

    assert [table.way("tenant", key).sandbox for key in "ab"] == [None, None]
    assert len(table) == 0
    assert table.way("tenant", "c") is NOWHERE


def test_patterns() -> None:
    """A pattern takes what falls under it and has no way of its own; a released one takes nothing."""
    table = RouteTable()
    put(table, "orders.*.created", Record("subject", ONE), 1, "subject")
    assert table.way("subject", "orders.eu.created").sandbox == ONE
    assert table.way("subject", "orders.eu.gone").sandbox is None
    assert table.way("tenant", "orders.eu.created").sandbox is None
    assert table.covers(("subject", "orders.*.created"), "subject", "orders.us.created")
    put(table, "orders.*.created", Record("subject"), 2, "subject")
    assert table.way("subject", "orders.eu.created").sandbox is None


def test_what_is_no_route_changes_nothing() -> None:
    """A subject of another form is passed over."""
    table = RouteTable()
    for subject in ("rt", "rt.a.b.c", "xx.tenant.a", "rt.A.b", "rt.tenant.=zz"):
        assert table.apply(subject, encode(Record("tenant", ONE)), 9) is None
    assert (len(table), table.epoch) == (0, 9)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_samples_grow(number: int) -> None:
    """What a small sample copies, a larger one copies too."""
    msg_id = f"discord:{number}"
    assert sampled(msg_id, 1.0)
    assert not sampled(msg_id, 0.0)
    if sampled(msg_id, 0.2):
        assert sampled(msg_id, 0.5)
