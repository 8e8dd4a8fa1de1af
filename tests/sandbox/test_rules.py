"""The pure rules, over everything that a caller could send."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valhalla.kernel.problems import Invalid
from valhalla.sandbox import rules
from valhalla.sandbox.contracts import Limits
from valhalla.sandbox.vocabulary import ADJECTIVES, NOUNS

LIMITS = Limits()
HOSTILE = [
    "", " ", "$(touch x)", "`touch x`", "a;b", "a'b", 'a"b', "a\\b", "a\nb", "a\n", "a\x00b", "a b", "../a", "a/b",
    "\u0430dmin",  # Cyrillic a
    "\uff41dmin", "adm\u0131n", "café", "a\u200bb", "a\u202eb", "A", "1a", "-a", "a" * 64, "a" * 100_000, "a%20b",
    "a\r\nb", "{a}", "a*", "a>", "a.>", "٣", "\ud800",
]  # fmt: skip


def pointer_of(call: Any) -> str:
    """Return the JSON pointer of the refusal."""
    with pytest.raises(Invalid) as refusal:
        call()
    (error,) = refusal.value.extra["errors"]
    # what was sent is not echoed: it may be long, and it may steer a terminal
    assert len(error["detail"]) < 200
    return error["pointer"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_no_identifier(text: str) -> None:
    """Not as a name, an owner, a template, a tag's or a route's part."""
    assert pointer_of(lambda: rules.check_name(text)) == "/name"
    assert pointer_of(lambda: rules.check_spec(owner="o", limits=LIMITS, name=text)) == "/name"
    if not re.fullmatch(r"[a-z0-9.-]{1,63}", text):
        assert pointer_of(lambda: rules.check_owner(text)) == "/owner"
    assert pointer_of(lambda: rules.check_spec(owner="o", limits=LIMITS, template=text)) == "/template"
    assert pointer_of(lambda: rules.check_route("discord.guild", text)) == "/routes/key"
    assert pointer_of(lambda: rules.check_ttl(rules.parse_ttl(text), LIMITS)) == "/ttl"
    if text not in {"A", "1a", "a/b"}:
        assert pointer_of(lambda: rules.check_tags(["fine", text])) == "/tags/1"
        assert pointer_of(lambda: rules.check_route(text, "key")) == "/routes/kind"


@given(st.text(max_size=80))
@example("a" * 63)
@example("a" * 64)
@example("a\n")
def test_a_name_is_the_rule_and_nothing_else(text: str) -> None:
    """The regular expression of the documentation, without what Unicode or a trailing newline would let in."""
    legal = (
        1 <= len(text) <= 63
        and text[0] in "abcdefghijklmnopqrstuvwxyz"
        and not set(text) - set("abcdefghijklmnopqrstuvwxyz0123456789-")
    )
    if legal:
        assert rules.check_name(text) == text
    else:
        assert pointer_of(lambda: rules.check_name(text)) == "/name"


@given(st.from_regex(rules.OWNER, fullmatch=True), st.integers(0, len(ADJECTIVES) - 1), st.integers(0, len(NOUNS) - 1))
def test_a_generated_name_is_legal_for_every_owner(owner: str, adjective: int, noun: int) -> None:
    picks = iter((adjective, noun))
    name = rules.generated_name(rules.check_owner(owner), lambda words: words[next(picks)])
    assert rules.check_name(name) == name
    assert name.endswith(f"-{ADJECTIVES[adjective]}-{NOUNS[noun]}")


@pytest.mark.parametrize("word", [*ADJECTIVES, *NOUNS])
def test_every_word_of_the_vocabulary_fits(word: str) -> None:
    assert re.fullmatch(r"[a-z]{1,10}", word)


class TestTtl:
    """Lifetimes."""

    @pytest.mark.parametrize(
        "value",
        [0, -1, 0.0, -0.5, math.nan, math.inf, -math.inf, True, False, 10**9 + 1, 10**400, -(10**400), 1e300, 1e-9,
         "", "0s", "24", "24.0", "24.0h", "-1h", "1h-", "nan", "inf", "1e9s", "1H", "1 h", " 1h", "1h\n", "1w", "h",
         "٣h", "1h$(touch x)", "999999999d", "9" * 100 + "s", "0d0h"],
    )  # fmt: skip
    def test_nonsense_is_refused(self, value: Any) -> None:
        assert pointer_of(lambda: rules.parse_ttl(value)) == "/ttl"

    @given(st.one_of(st.floats(), st.integers()))
    def test_any_number_is_a_duration_or_refused(self, value: float) -> None:
        if 0 < value <= 1e9 and timedelta(seconds=value):
            assert rules.parse_ttl(value) == timedelta(seconds=value)
        else:
            assert pointer_of(lambda: rules.parse_ttl(value)) == "/ttl"

    @given(st.text(max_size=20))
    def test_any_text_is_a_duration_or_refused(self, text: str) -> None:
        try:
            ttl = rules.parse_ttl(text)
        except Invalid:
            return
        assert timedelta(0) < ttl <= timedelta(seconds=1e9)
        assert re.fullmatch(r"([0-9]+[smhd])+", text, re.ASCII)

    @given(st.integers(1, 10**9))
    def test_what_is_written_is_read_back(self, seconds: int) -> None:
        ttl = timedelta(seconds=seconds)
        assert rules.parse_ttl(rules.written(ttl)) == ttl

    @given(
        st.lists(st.tuples(st.integers(0, 9999), st.sampled_from("smhd")), min_size=1, max_size=4).filter(
            lambda parts: sum(count for count, _ in parts) > 0
        )
    )
    def test_parts_add_up(self, parts: list[tuple[int, str]]) -> None:
        seconds = sum(count * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[unit] for count, unit in parts)
        text = "".join(f"{count}{unit}" for count, unit in parts)
        if seconds <= 10**9:
            assert rules.parse_ttl(text) == timedelta(seconds=seconds)
        else:
            assert pointer_of(lambda: rules.parse_ttl(text)) == "/ttl"

    @given(st.timedeltas(timedelta(days=-400), timedelta(days=400)))
    def test_the_maximum_binds(self, ttl: timedelta) -> None:
        if timedelta(0) < ttl <= LIMITS.max_ttl:
            assert rules.check_ttl(ttl, LIMITS) == ttl
        else:
            assert pointer_of(lambda: rules.check_ttl(ttl, LIMITS)) == "/ttl"

    def test_the_default_is_a_day(self) -> None:
        assert rules.check_spec(owner="o", limits=LIMITS).ttl == timedelta(hours=24)
        assert pointer_of(lambda: rules.check_spec(owner="o", limits=LIMITS, ttl="169h")) == "/ttl"
        assert rules.check_spec(owner="o", limits=LIMITS, ttl="168h").ttl == timedelta(days=7)

    @given(
        st.datetimes(datetime(2024, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
        st.timedeltas(timedelta(seconds=1), LIMITS.max_ttl),
        st.timedeltas(timedelta(microseconds=1), timedelta(seconds=1e9)),
    )
    def test_an_extension_ends_at_the_cap_and_says_so(
        self, created: datetime, lived: timedelta, more: timedelta
    ) -> None:
        """Never earlier than before, never later than the maximum from creation, and ``capped`` tells the truth."""
        expires = created + lived
        end, capped = rules.extended(created, expires, more, LIMITS)
        assert expires <= end <= created + LIMITS.max_ttl
        assert capped == (expires + more > created + LIMITS.max_ttl)
        assert end == (created + LIMITS.max_ttl if capped else expires + more)


class TestRoutes:
    """Who gets live events."""

    @pytest.mark.parametrize("key", ["81123456789012345", "811234567890123456", "8112345678901234567"])
    def test_a_snowflake(self, key: str) -> None:
        assert str(rules.check_route("discord.guild", key)) == f"discord.guild:{key}"

    @pytest.mark.parametrize(
        "key",
        ["0", "1234567890123456", "0811234567890123456", "9999999999999999999", "81123456789012345678",
         "-811234567890123456", "811234567890123456.0", "8.1e17", "٨١١٢٣٤٥٦٧٨٩٠١٢٣٤٥٦", "811234567890123456\n",
         "$(touch x)", "81123456789012345a", "*", ">"],
    )  # fmt: skip
    def test_no_snowflake(self, key: str) -> None:
        assert pointer_of(lambda: rules.check_route("discord.guild", key)) == "/routes/key"
        assert pointer_of(lambda: rules.check_route("discord.channel", key)) == "/routes/key"

    @given(st.integers())
    def test_a_snowflake_is_a_number_of_63_bits(self, number: int) -> None:
        if 10**16 <= number < 2**63:
            assert rules.check_route("discord.guild", str(number)).key == str(number)
        else:
            assert pointer_of(lambda: rules.check_route("discord.guild", str(number))) == "/routes/key"

    @given(st.text(max_size=140), st.text(max_size=140))
    def test_any_text_is_safe_in_a_shell_a_subject_and_a_list(self, kind: str, key: str) -> None:
        try:
            route = rules.check_route(kind, key)
        except Invalid:
            return
        assert re.fullmatch(r"[a-z0-9_.]+:[A-Za-z0-9_.-]+", str(route), re.ASCII)
        assert not str(route).startswith("-")

    def test_the_pointer_says_which(self) -> None:
        bad = [("discord.guild", "811234567890123456"), ("discord.guild", "x")]
        assert pointer_of(lambda: rules.check_spec(owner="o", limits=LIMITS, routes=bad)) == "/routes/1/key"
        many = [("a", str(n)) for n in range(51)]
        assert pointer_of(lambda: rules.check_spec(owner="o", limits=LIMITS, routes=many)) == "/routes"

    def test_doubles_count_once(self) -> None:
        spec = rules.check_spec(owner="o", limits=LIMITS, routes=[("a", "1"), ("a", "1")])
        assert [str(route) for route in spec.routes] == ["a:1"]


class TestWords:
    """Tags, description, metadata."""

    @given(st.lists(st.from_regex(rules.TAG, fullmatch=True), max_size=20))
    def test_tags_keep_their_order_once_each(self, tags: list[str]) -> None:
        checked = rules.check_tags(tags)
        assert list(checked) == list(dict.fromkeys(tags))
        assert rules.check_tags(checked) == checked

    def test_too_many_tags(self) -> None:
        assert pointer_of(lambda: rules.check_tags([str(n) for n in range(21)])) == "/tags"

    @pytest.mark.parametrize("text", ["x" * 501, "a\x00", "\ud800"])
    def test_a_description_that_cannot_be_stored(self, text: str) -> None:
        assert pointer_of(lambda: rules.check_spec(owner="o", limits=LIMITS, description=text)) == "/description"

    @given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=500))
    def test_any_other_description_is_kept(self, text: str) -> None:
        assert rules.check_spec(owner="o", limits=LIMITS, description=text).description == text

    @given(
        st.dictionaries(
            st.text(max_size=10),
            st.recursive(
                st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=10),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
                max_leaves=8,
            ),
            max_size=4,
        )
    )
    @example({"x": math.nan})
    @example({"x": [{"y": -math.inf}]})
    @example({"\x00": 1})
    @example({"x": {"y": ["\x00"]}})
    @example({"x": "\\u0000 is fine: it is six characters"})
    @example({"x": 2**64})
    @example({"x": "\ud800"})
    def test_metadata_comes_back_as_it_went_in_or_is_refused(self, metadata: dict[str, Any]) -> None:
        """Nothing is changed without a word, as NaN → null would be."""
        from valhalla.kit.json import dumps

        try:
            checked = rules.check_metadata(metadata)
        except Invalid:
            text = json.dumps(metadata, ensure_ascii=False)
            flat = _leaves(metadata)
            odd = any(isinstance(item, float) and not math.isfinite(item) for item in flat)
            huge = any(isinstance(item, int) and not -(2**63) <= item < 2**64 for item in flat)
            assert odd or huge or "\\u0000" in text or any(0xD800 <= ord(char) < 0xE000 for char in text)
            return
        assert json.loads(dumps(checked)) == metadata
        assert not [item for item in _leaves(metadata) if isinstance(item, str) and "\x00" in item]

    def test_metadata_has_a_size(self) -> None:
        assert rules.check_metadata({"x": "y" * 16_000})
        assert pointer_of(lambda: rules.check_metadata({"x": "y" * 16_400})) == "/metadata"
        assert pointer_of(lambda: rules.check_metadata({"x": "ü" * 8_200})) == "/metadata"

    def test_metadata_has_a_depth(self) -> None:
        deep: dict[str, Any] = {}
        for _ in range(3000):
            deep = {"x": deep}
        assert pointer_of(lambda: rules.check_metadata(deep)) == "/metadata"

    @pytest.mark.parametrize("value", [object(), b"x", {1, object()}, {1: 2}])
    def test_metadata_is_json(self, value: Any) -> None:
        assert pointer_of(lambda: rules.check_metadata({"x": value})) == "/metadata"


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in (key, *_leaves(item))]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
