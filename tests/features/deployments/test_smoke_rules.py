"""Which suites can be run, and which answers are as declared."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.features.operations.deployments.smoke import Check, JsonCheck, Suite, Undo, rules
from valhalla.features.operations.deployments.smoke.errors import BadSuite
from valhalla.kit import jsonpath

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


def suite(*checks: Check, **members: Any) -> Suite:
    return Suite("api", members.pop("base_url", "https://api.example/v1"), checks or (Check("a", "/"),), **members)


@pytest.mark.parametrize(
    ("bad", "pointer"),
    [
        (suite(base_url="https://u:p@api.example"), "/base_url"),
        (suite(base_url="file:///etc/passwd"), "/base_url"),
        (suite(Check("a", "//evil.example/")), "/checks/0/path"),
        (suite(Check("a", "@evil.example/")), "/checks/0/path"),
        (suite(Check("a", "/../admin")), "/checks/0/path"),
        (suite(Check("a", "/x"), Check("a", "/y")), "/checks/1/name"),
        (suite(Check("a", "/x", status=(999,))), "/checks/0/status"),
        (suite(Check("a", "/x", headers={"Host": "evil"})), "/checks/0/headers"),
        (suite(Check("a", "/x", headers={"X": "a\r\nY: b"})), "/checks/0/headers"),
        (suite(Check("a", "/x", headers={"Authorization": "Bearer abc"})), "/checks/0/headers"),
        (suite(Check("a", "/x", headers={"X": "${VALHALLA_CELL_KEY}"})), "/checks/0/headers"),
        (suite(Check("a", "/x", jsonpath=(JsonCheck("$..a"),))), "/checks/0/jsonpath/0/path"),
        (suite(Check("a", "/x", jsonpath=(JsonCheck("$.a", "count", "2"),))), "/checks/0/jsonpath/0/value"),
        (suite(Check("a", "/x", jsonpath=(JsonCheck("$.a", "type", "int"),))), "/checks/0/jsonpath/0/value"),
        (suite(cron="every day"), "/cron"),
        (suite(cron="* * * * *", timezone="Mars"), "/cron"),
        (suite(on_failure=Undo("rollback", "api_clients", None, 1)), "/on_failure/registry"),
        (suite(on_failure=Undo("disable", "flags")), "/on_failure/key"),
        (Suite("api", "https://api.example", ()), "/checks"),
    ],
    ids=lambda value: value.strip("/").replace("/", "-") if isinstance(value, str) else "suite",
)
def test_what_cannot_be_run_is_refused_where_it_is(bad: Suite, pointer: str) -> None:
    with pytest.raises(BadSuite) as refused:
        rules.check_suite(bad)

    assert [error["pointer"] for error in refused.value.extra["errors"]] == [pointer]


def test_a_whole_suite_is_taken() -> None:
    rules.check_suite(
        suite(
            Check(
                "a",
                "/x?y=1",
                headers={"Authorization": "Bearer ${SMOKE_TOKEN}", "Accept": "a/b"},
                jsonpath=(JsonCheck("$['a b'][0].*[*]", "count", 2),),
            ),
            cron="*/5 * * * *",
            timezone="Europe/Berlin",
            on_failure=Undo("rollback", "flags", None, 3),
        )
    )


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (JsonCheck("$.a"), True),
        (JsonCheck("$.z"), False),
        (JsonCheck("$.z", "absent"), True),
        (JsonCheck("$.a", "equals", 1), True),
        (JsonCheck("$.t", "equals", 1), False),
        (JsonCheck("$.l[*]", "at_least", 1), True),
        (JsonCheck("$.l[*]", "at_least", 2), False),
        (JsonCheck("$.l[*]", "at_most", 3), True),
        (JsonCheck("$.l[-1]", "equals", 3), True),
        (JsonCheck("$.l[*]", "count", 3), True),
        (JsonCheck("$.l", "contains", 2), True),
        (JsonCheck("$.s", "contains", "ell"), True),
        (JsonCheck("$.o", "contains", {}), False),
        (JsonCheck("$.o", "type", "object"), True),
        (JsonCheck("$.t", "type", "number"), False),
        (JsonCheck("$.z", "equals", None), False),
        (JsonCheck("$.n", "equals", None), True),
    ],
    ids=lambda value: f"{value.path}-{value.op}-{value.value}" if isinstance(value, JsonCheck) else str(value),
)
def test_what_must_hold_of_json(check: JsonCheck, good: bool) -> None:
    body = b'{"a":1,"t":true,"l":[1,2,3],"s":"hello","o":{"x":1},"n":null}'

    failures = rules.judge(Check("c", "/", jsonpath=(check,)), 200, {}, body, 0.1)

    assert (not failures) is good


@settings(max_examples=40)
@given(
    _json, st.sampled_from(["exists", "absent", "equals", "contains", "type", "at_least", "at_most", "count"]), _json
)
def test_no_answer_makes_judging_fail(document: Any, op: Any, value: Any) -> None:
    check = JsonCheck("$.a[*]", op, value)
    try:
        rules.check_suite(suite(Check("a", "/", jsonpath=(check,))))
    except BadSuite:
        return
    rules.judge(Check("a", "/", jsonpath=(check,)), 200, {}, msgspec.json.encode(document), 0.1)


@settings(max_examples=30)
@given(st.binary(max_size=40))
def test_no_bytes_make_judging_fail(body: bytes) -> None:
    rules.judge(Check("a", "/", jsonpath=(JsonCheck("$.a"),)), 200, {}, body, 0.1)


@settings(max_examples=50)
@given(st.text(max_size=20))
def test_no_text_makes_reading_a_path_fail_otherwise(text: str) -> None:
    with contextlib.suppress(ValueError):
        jsonpath.find({"a": [1]}, jsonpath.parse("$" + text))


def test_what_is_shown_of_an_answer_is_short_and_holds_no_key() -> None:
    body = msgspec.json.encode({"a": "x" * 5000, "b": "postgresql://u:hunter2@db/x"})

    failures = rules.judge(
        Check("a", "/", jsonpath=(JsonCheck("$.a", "equals", 1), JsonCheck("$.b", "equals", 1))), 200, {}, body, 0.1
    )

    assert len(repr(failures)) < 1000
    assert "hunter2" not in repr(failures)
