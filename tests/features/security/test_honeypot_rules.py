"""What sensors send, which decoys can be, and what touches them."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.features.security.honeypots import reading, rules, stock
from valhalla.features.security.honeypots.contracts import Decoy
from valhalla.features.security.honeypots.errors import BadDecoy, BadEvent

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
CANARY = {
    "dst_host": "10.0.0.4",
    "dst_port": 22,
    "local_time": "2026-11-20 09:59:59.123456",
    "logdata": {"USERNAME": "root", "PASSWORD": "hunter2"},
    "logtype": 4002,
    "node_id": "canary-1",
    "src_host": "203.0.113.7",
    "src_port": "50122",
    "utc_time": "2026-11-20 09:59:59.123456",
}
COWRIE = {
    "eventid": "cowrie.login.failed",
    "username": "root",
    "password": "admin",
    "message": "login attempt [root/admin] failed",
    "sensor": "s1",
    "timestamp": "2026-11-20T09:59:58.000001Z",
    "src_ip": "203.0.113.8",
    "session": "8a7b6c5d",
}


@pytest.mark.parametrize("sent", [CANARY, {"message": json.dumps(CANARY)}, {"message": CANARY}], ids=range(3))
def test_opencanary_is_read_in_each_of_its_forms(sent: dict[str, Any]) -> None:
    read = reading.opencanary(sent)
    assert read is not None
    assert (read.kind, read.service, read.address) == ("auth_attempt", "ssh", "203.0.113.7")
    assert read.at == datetime(2026, 11, 20, 9, 59, 59, 123456, UTC)
    assert "hunter2" not in json.dumps(read.payload)
    same = reading.opencanary({**CANARY})
    assert same is not None
    assert same.identity == read.identity


@pytest.mark.parametrize(
    ("changed", "kind"),
    [({"logtype": 3000}, "connection"), ({"logtype": 3001}, "auth_attempt"), ({"logtype": 17001}, "command"),
     ({"logtype": 5001}, "scan"), ({"logtype": 99999}, "other"), ({"src_host": ""}, "auth_attempt")],
    ids=range(6),
)  # fmt: skip
def test_kinds_of_opencanary(changed: dict[str, Any], kind: str) -> None:
    read = reading.opencanary({**CANARY, **changed})
    assert read is not None
    assert read.kind == kind
    assert read.address == (None if changed.get("src_host") == "" else "203.0.113.7")


def test_a_sensor_that_starts_says_nothing_of_anybody() -> None:
    assert reading.opencanary({**CANARY, "logtype": 1001, "src_host": "", "src_port": -1}) is None
    assert reading.cowrie({**COWRIE, "eventid": "cowrie.session.closed"}) is None


def test_cowrie_is_read_line_by_line() -> None:
    lines = "\n".join(json.dumps({**COWRIE, "session": str(number)}) for number in range(3)) + "\n\n"
    read = [reading.cowrie(one) for one in reading.lines(lines.encode(), 10)]
    assert [(one.kind, one.service, one.address) for one in read if one] == [("auth_attempt", "ssh", "203.0.113.8")] * 3
    assert len({one.identity for one in read if one}) == 3
    down = reading.cowrie({**COWRIE, "eventid": "cowrie.session.file_download"})
    assert down is not None
    assert down.kind == "file"


def test_a_webhook_may_be_a_form() -> None:
    from urllib.parse import urlencode

    for body in (json.dumps(CANARY), json.dumps([CANARY]), urlencode({"message": json.dumps(CANARY)})):
        [sent] = reading.webhook(body.encode(), 10)
        assert reading.opencanary(sent) is not None
    for bad in (b"", b"hello", b"\xff", b"message=%7B", b"[" * 5000):
        with pytest.raises(BadEvent):
            reading.webhook(bad, 10)
    with pytest.raises(BadEvent):
        reading.lines(b"{}\n" * 11, 10)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*CANARY, *COWRIE, "message"]), inner, max_size=6)
    ),
    max_leaves=8,
)


@given(documents)
@settings(max_examples=80, deadline=None)
def test_any_document_is_an_event_or_a_problem(sent: object) -> None:
    for read in (reading.opencanary, reading.cowrie):
        with contextlib.suppress(BadEvent):
            read(msgspec.json.decode(msgspec.json.encode(sent)))


def test_what_is_old_or_of_tomorrow_is_no_event() -> None:
    read = reading.cowrie(COWRIE)
    assert read is not None
    taken = rules.caught(read, "h1", NOW)
    assert rules.caught(read, "h1", NOW + timedelta(hours=1)).uid == taken.uid
    assert rules.caught(read, "h2", NOW).uid != taken.uid
    for now in (NOW + timedelta(hours=25), NOW - timedelta(minutes=6)):
        with pytest.raises(BadEvent):
            rules.caught(read, "h1", now)


def test_the_stock_of_decoys_is_valid_and_found_however_it_is_written() -> None:
    for one in stock.STOCK:
        rules.check(one)
    bait = rules.Bait(stock.STOCK)
    written = {
        "/.env": "env",
        "/.ENV": "env",
        "//.env": "env",
        "/.env.bak": "env-more",
        "/.git/config": "git",
        "/WP-Admin/setup.php": "wp-admin",
        "/phpmyadmin/": "phpmyadmin",
    }
    for path, name in written.items():
        found = bait.find(path, b"")
        assert found is not None, path
        assert found.name == name
    for path in ("/", "/api/sandboxes", "/system/security/mode", "/environment", "/.environment", "/live"):
        assert bait.find(path, b"") is None, path


def test_canaries_and_keys_are_found_by_their_words() -> None:
    canary = Decoy("c", "canary", word="cn0123456789abcdef")
    key = Decoy("k", "key", digest="ab" * 32)
    off = Decoy("off", "path", path="/off.php", enabled=False)
    for one in (canary, key, off):
        rules.check(one)
    bait = rules.Bait([canary, key, off])
    assert bait.find("/api/orders/cn0123456789abcdef", b"") is canary
    assert bait.find("/api/orders", b"id=cn0123456789abcdef&x=1") is canary
    assert bait.find("/api/orders/xcn0123456789abcdef", b"") is None
    assert bait.find("/off.php", b"") is None
    assert (bait.key("ab" * 32), bait.key("cd" * 32)) == (key, None)


@pytest.mark.parametrize(
    "members",
    [
        {"path": "/api/x"}, {"path": "/api*"}, {"path": "/a*"}, {"path": "/"}, {"path": "/*"}, {"path": "/live"},
        {"path": "/CONSOLE/x"}, {"path": "x"}, {"path": "/a b"}, {"path": None}, {"word": "cn0123456789ab"},
        {"kind": "key"}, {"kind": "canary", "path": None, "word": "short"}, {"name": "A b"}, {"score": -1},
        {"digest": "ab" * 32}, {"path": "/sys*"},
    ],
    ids=range(17),
)  # fmt: skip
def test_a_decoy_hides_nothing_that_is_there(members: dict[str, Any]) -> None:
    with pytest.raises(BadDecoy):
        rules.check(Decoy(**{"name": "d", "kind": "path", "path": "/old.php", **members}))
