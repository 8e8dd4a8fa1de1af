"""The console's pure parts: how values look, what forms send, what the verdict is, and that descriptions are true."""

from __future__ import annotations

import contextlib
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.cli.main import cli
from valhalla.kernel.problems import Invalid
from valhalla.server.console import PAGES, forms
from valhalla.server.console.api_index import fill
from valhalla.server.console.contracts import Action, Column, Field
from valhalla.server.console.drawing import snippets, waterfall
from valhalla.server.console.home import judge
from valhalla.server.console.showing import cell, curl, duration, form_of, pick, sheet, tone

READY = {"status": "ready", "checks": {"postgres": {"ok": True, "critical": True}}}
FIELDS = (
    Field(name="ttl", required=True),
    Field(name="count", input="number"),
    Field(name="tags", input="list"),
    Field(name="filter.severity", input="list"),
    Field(name="context", input="json"),
    Field(name="until", input="time"),
    Field(name="replace", input="check"),
    Field(name="confirm", input="check", query=True),
    Field(name="reason", query=True),
)


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.lists(st.text()),
        st.dictionaries(st.text(), st.text()),
    )
)
def test_any_value_has_a_look_of_bounded_size(value: Any) -> None:
    shown = cell(value)
    assert shown.text
    assert len(shown.text) <= 400
    assert len(shown.whole) <= 1000


def test_looks() -> None:
    assert cell("2026-11-21T11:36:04.178Z").kind == "time"
    assert cell("2026-11-21").kind == "text"
    assert cell(["a", "b"]).text == "a, b"
    assert cell({"a": 1}).text == '{"a":1}'
    assert cell(0.25, "seconds").text == "250 ms"
    assert (cell("dead", "status").tone, tone("running"), tone("held"), tone("blue")) == ("bad", "good", "wait", "")
    assert (duration(90), duration(7200), duration(0.0004)) == ("1.5 min", "2 h", "0.4 ms")
    assert pick({"a": {"b": 1}}, "a.b") == 1
    assert pick({"a": 1}, "a.b") is None


def test_documents_are_laid_out_by_their_form() -> None:
    assert [form_of(one) for one in (1, "a", None, [], {}, ["a"])] == ["plain"] * 3 + ["json", "members", "words"]
    assert form_of([{"a": 1, "b": None}]) == "rows"
    assert form_of([{"a": {"b": 1}}]) == "json"
    assert form_of({"a": {"b": [{"c": 1}]}}) == "members"
    assert form_of({"if": [{"==": [1, {"var": "x"}]}]}) == "json"
    assert form_of("x" * 1000) == "json"


@given(st.text(min_size=1))
def test_no_cell_of_a_sheet_is_a_formula(text: str) -> None:
    line = sheet([Column("a")], [{"a": text}], head=False)
    assert line.lstrip('"')[:1] not in {"=", "+", "-", "@"}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60))
def test_a_command_to_copy_is_one_request_whatever_is_in_it(text: str) -> None:
    words = shlex.split(curl("POST", "http://plane/x", {"a": text}))
    assert words[0] == "curl"
    assert words[-1] == "http://plane/x"
    assert len(words) == 11


def test_a_form_becomes_a_request() -> None:
    typed = {"ttl": " 1h ", "count": "3", "tags": "a, b\nc,", "filter.severity": "error", "context": '{"k": 1}'}
    typed |= {"until": "2026-12-06T02:00", "confirm": "1", "reason": "so"}
    filled = forms.fill(Action(name="a", label="A", path="/a", fields=FIELDS), FIELDS, typed, {})
    assert filled.query == {"confirm": "true", "reason": "so"}
    assert filled.body == {
        "ttl": "1h",
        "count": 3,
        "tags": ["a", "b", "c"],
        "filter": {"severity": ["error"]},
        "context": {"k": 1},
        "until": "2026-12-06T02:00:00Z",
        "replace": False,
    }


@pytest.mark.parametrize("broken", ["ttl", "count", "context", "until"])
def test_what_cannot_be_read_is_said_by_name(broken: str) -> None:
    typed = {"ttl": "1h"} | {broken: "" if broken == "ttl" else "{nonsense"}
    with pytest.raises(Invalid, match=broken):
        forms.fill(Action(name="a", label="A", path="/a", fields=FIELDS), FIELDS, typed, {})


def test_an_action_sends_what_was_looked_at() -> None:
    action = Action(name="approve", label="A", path="/a", copy={"fingerprint": "fingerprint"})
    assert forms.fill(action, (), {"fingerprint": "forged"}, {"fingerprint": "f1"}).body == {"fingerprint": "f1"}
    assert forms.fill(Action(name="a", label="A", path="/a"), (), {}, {}).body is None


@given(st.binary(max_size=300))
def test_any_body_is_a_form_or_refused(body: bytes) -> None:
    with contextlib.suppress(Invalid):
        assert isinstance(forms.read(body), dict)


def test_a_key_stays_one_segment_where_the_route_has_one() -> None:
    assert fill("/a/{key}/b", "x/../y?z") == "/a/x%2F..%2Fy%3Fz/b"
    assert fill("/a/{key:path}", "x/y z") == "/a/x/y%20z"


def test_the_verdict_names_every_reason() -> None:
    normal = {"mode": "normal"}
    assert judge(READY, normal, 0).go
    assert judge(READY, None, None).go
    broken = {"status": "not-ready", "checks": {"postgres": {"ok": False, "critical": True, "reason": "away"}}}
    verdict = judge(broken, {"mode": "read_only", "reason": "moving"}, 2)
    assert (verdict.go, len(verdict.reasons)) == (False, 3)
    assert "postgres: away" in verdict.reasons
    lesser = judge({"status": "ready", "checks": {"pool": {"ok": False, "critical": False}}}, normal, 0)
    assert (lesser.go, lesser.notes) == (True, ["pool: does not work"])
    assert not judge({"status": "unknown"}, normal, 0).go


def test_a_waterfall_has_every_span_within_the_whole() -> None:
    child = {"name": "b", "started_at": "2026-01-01T00:00:00.500+00:00", "seconds": 0.5, "children": []}
    root = {"name": "a", "started_at": "2026-01-01T00:00:00+00:00", "seconds": 1.0, "children": [child]}
    bars = waterfall([root])
    assert [(bar.span["name"], bar.depth, bar.start, bar.width) for bar in bars] == [
        ("a", 0, 0.0, 1000.0),
        ("b", 1, 500.0, 500.0),
    ]
    assert waterfall([]) == []
    deep: dict[str, Any] = {"name": "leaf", "children": []}
    for _ in range(2000):
        deep = {"name": "x", "children": [deep]}
    assert len(waterfall([deep])) == 500


def test_snippets_quote_what_a_shell_would_read() -> None:
    access = {"env": {"A": "it's"}, "postgres": {"url": "postgresql://u:p@h/d"}}
    found = dict(snippets(access))
    assert shlex.split(found["Shell"]) == ["export", "A=it's"]
    assert "postgresql+psycopg://" in found["Python, SQLAlchemy"]


def test_every_command_that_a_page_names_exists() -> None:
    for page in PAGES:
        for line in (page.cli, page.cli_one):
            if not line:
                continue
            command: Any = cli
            for word in line.split()[1:]:
                command = command.get_command(None, word)
                assert command is not None, line


def test_pages_have_names_of_their_own() -> None:
    slugs = [page.slug for page in PAGES]
    assert len(slugs) == len(set(slugs))
    assert not {"all", "do", "static", "login", "logout", "link", "session", "events", "series", "part"} & set(slugs)
    assert all(page.teach.endswith(".") for page in PAGES)


def test_an_input_begins_with_what_the_record_has_and_is_sent_only_where_it_belongs() -> None:
    fields = (
        Field(name="name", path=True, required=True),
        Field(name="when.type", input="select", options=("every", "once")),
        Field(name="when.seconds", input="number", only=("when.type", "every")),
        Field(name="when.at", input="time", only=("when.type", "once")),
        Field(name="args", input="json"),
        Field(name="tags", input="list"),
        Field(name="paused", input="check"),
    )
    action = Action(name="edit", label="Edit", path="/x/{name}", method="PUT", fields=fields)
    when = {"type": "once", "seconds": 5, "at": "2031-01-02T03:04:05+02:00"}
    record = {"name": "n", "when": when, "args": {"a": 1}, "tags": ["x", "y"], "paused": True}
    first = {field.name: forms.begun(field, record) for field in fields}
    assert first["when.at"] == "2031-01-02T01:04:05"
    sent = {
        "when": {"type": "once", "at": "2031-01-02T01:04:05Z"},
        "args": {"a": 1},
        "tags": ["x", "y"],
        "paused": True,
    }
    assert forms.fill(action, fields, first, record).body == sent
    assert {forms.begun(field, {}) for field in fields} == {""}
    with pytest.raises(Invalid, match="'name' is missing"):
        forms.fill(action, fields, {**first, "name": ""}, record)
