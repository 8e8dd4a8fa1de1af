"""Which entries can be meant: types, schemas, what looks like a secret, documents, and Consul's forms."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.operations.config import consul, documents
from valhalla.features.operations.config.contracts import Entry
from valhalla.features.operations.config.errors import BadDocument, BadEntry, LooksSecret
from valhalla.features.operations.config.rules import check, is_kept, value_in
from valhalla.features.operations.config.secrets import find
from valhalla.kit.registry import Record


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"type": "integer", "value": "7"}, "/value"),
        ({"type": "integer", "value": True}, "/value"),
        ({"type": "string", "value": None}, "/value"),
        ({"type": "number", "value": 1, "environments": {"live": "x"}}, "/environments/live"),
        ({"json_schema": {"properties": {"port": {"maximum": 9}}}, "value": {"port": 10}}, "/value/port"),
        ({"json_schema": {"type": "nothing"}}, "/json_schema"),
        ({"json_schema": {"$ref": "http://10.0.0.1/schema"}}, "/json_schema"),
        ({"json_schema": {"pattern": "("}, "value": "x"}, "/json_schema"),
        ({"environments": {"No!": 1}}, "/environments/No!"),
        ({"value": "x" * 600_000}, "/value"),
    ],
    ids=range(10),
)
def test_what_breaks_its_type_or_schema(members: dict[str, Any], pointer: str) -> None:
    with pytest.raises(BadEntry) as refused:
        check(Entry("k", **members))
    assert refused.value.extra["errors"][0]["pointer"] == pointer


SECRETS = [
    ("db/password", "hunter2"),
    ("db", {"primary": {"api_key": "abc"}}),
    ("url", "postgres://app:hunter2@db/app"),
    ("aws", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("pem", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\n-----END PRIVATE KEY-----"),
    ("ours", "vh_local_abcdefgh12345678"),
    ("random", "q7Xv2LmZ9rTbW4cKpN8sYdF3"),
    ("hex", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    ("list", ["fine", "gh" + "p_abcdefghijklmnopqrstuvwxyz0123"]),
]
HARMLESS = [
    ("db/host", "db.internal.example.com:5432"),
    ("password-ref", "vault://kv/db#password"),
    ("token_ttl", 3600),
    ("id", "123e4567-e89b-12d3-a456-426614174000"),
    ("path", "/usr/local/share/Application/releases/2026-03-01"),
    ("text", "An ordinary sentence of many words, with Capitals and 12 numbers."),
    ("image", "registry.example.com/team/service-name:v1.22.333"),
    ("url", "https://example.com/a/very/long/path/with-some-words?and=parameters"),
    ("cron", "*/5 * * * *"),
    ("empty_secret", ""),
]


@pytest.mark.parametrize(("key", "value"), SECRETS, ids=range(len(SECRETS)))
def test_what_looks_like_a_secret_is_refused_and_not_repeated(key: str, value: Any) -> None:
    with pytest.raises(LooksSecret) as refused:
        check(Entry(key, value))
    assert "hunter2" not in str(refused.value.document())
    with pytest.raises(LooksSecret):
        check(Entry(key, "harmless" if "pass" not in key else "", environments={"live": value}))
    check(Entry(key, value, not_a_secret="the example of the manual"))


@pytest.mark.parametrize(("key", "value"), HARMLESS, ids=range(len(HARMLESS)))
def test_what_is_none(key: str, value: Any) -> None:
    assert find(key, value) is None


def test_environments_and_what_is_kept() -> None:
    entry = Entry("k", 1, environments={"live": None})
    assert [value_in(entry, "live"), value_in(entry, "other")] == [None, 1]
    assert is_kept({"value": 1, "owner": "a"}, {"value": 1, "owner": "b"})
    assert not is_kept({"value": 1}, {"value": True})


_json = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b c", "ü"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.parametrize("form", ["json", "toml", "yaml"])
@given(value=_json)
def test_what_is_exported_is_imported(form: documents.Form, value: Any) -> None:
    entries = {"a/b": {"value": value, "type": "any"}, "c.d": {"value": [], "description": "yes"}}
    assert documents.read(documents.write(entries, form), form) == entries


@pytest.mark.parametrize(
    ("form", "raw"),
    [
        ("json", b"{"), ("json", b"[]"), ("json", b'{"a": 1}'), ("json", b"\xff"), ("toml", b"a = "),
        ("toml", b"a = 1"),
        ("yaml", b"a: [\n"), ("yaml", b"a: &x {value: 1}\nb: *x\n"), ("yaml", b"a: !!python/object:os.system {}\n"),
        ("yaml", b"1: {value: 1}\n"), ("yaml", b"a: {value: !!binary aGk=}\n"),
    ],
    ids=range(11),
)  # fmt: skip
def test_documents_that_are_none(form: documents.Form, raw: bytes) -> None:
    with pytest.raises(BadDocument):
        documents.read(raw, form)


def test_toml_has_no_null() -> None:
    with pytest.raises(BadDocument, match="null"):
        documents.write({"a": {"value": {"b": [None]}}}, "toml")
    assert documents.read(b"[a]\nvalue = 2026-03-01T12:00:00Z\n", "toml") == {
        "a": {"value": "2026-03-01T12:00:00+00:00"}
    }


def test_consuls_forms() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    records = {
        key: Record(key, Entry(key, value, environments={"live": "L"}), version, at, at)
        for key, value, version in (("a/b", "text", 3), ("a/c/d", {"x": 1}, 5), ("a/c/e", "", 6), ("z", 1, 4))
    }

    def ask(key: str, environment: str = "", **how: Any) -> Any:
        found = consul.answer(records, 9, consul.Asked(key, **how), environment)
        return found.status, found.index, found.body

    pair = {"LockIndex": 0, "Key": "a/b", "Flags": 0, "Value": "dGV4dA==", "CreateIndex": 3, "ModifyIndex": 3}
    assert ask("a/b") == (200, 3, [pair])
    assert base64.b64decode(ask("a/b", "live")[2][0]["Value"]) == b"L"
    assert ask("a/c/e")[2][0]["Value"] is None
    assert ask("a/c/d", raw=True) == (200, 5, b'{"x":1}')
    assert ask("nothing") == (404, 9, None)
    status, index, pairs = ask("a/", recurse=True)
    assert (status, index, [each["Key"] for each in pairs]) == (200, 9, ["a/b", "a/c/d", "a/c/e"])
    assert ask("a/", keys=True) == (200, 9, ["a/b", "a/c/d", "a/c/e"])
    assert ask("a/", keys=True, separator="/") == (200, 9, ["a/b", "a/c/"])
    assert ask("y", recurse=True) == (404, 9, None)
    times = ["10s", "5m", "1h", "200ms", None, "", "x", "-1s"]
    assert [consul.seconds(text) for text in times] == [10, 300, 600, 0.2, 300, None, None, None]
