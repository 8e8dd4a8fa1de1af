"""Endpoints, statements, commands and excerpts: the pure decisions."""

from __future__ import annotations

import sqlite3

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Servers

from valhalla.guard.egress import commands, excerpts, statements
from valhalla.guard.egress.endpoints import Endpoints, normal, parse
from valhalla.guard.egress.kernel.sockets import decode

READING = [
    "SELECT 1",
    "  select * from t where a = 'x; DELETE FROM t'",
    "WITH a AS (SELECT 1) SELECT * FROM a;",
    "-- hello\nSELECT 1",
    "/* INSERT */ SHOW transaction_read_only",
    "EXPLAIN DELETE FROM t",
    "(SELECT 1) UNION (SELECT 2)",
    'SELECT "update" FROM t',
    "SELECT $$INSERT INTO$$",
    "BEGIN; SET TRANSACTION READ ONLY; SELECT 1; COMMIT",
    "PRAGMA table_info(t)",
    "VALUES (1)",
]
WRITING = [
    "INSERT INTO t VALUES (1)",
    "SELECT 1; DELETE FROM t",
    "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone",
    "SELECT * INTO t2 FROM t",
    "SELECT * FROM t FOR UPDATE",
    "EXPLAIN ANALYZE DELETE FROM t",
    "SELECT pg_notify('a', 'b')",
    "SELECT pg_catalog.\"pg_notify\"('a', 'b')",
    "SELECT nextval('s')",
    "SELECT lo_create(0)",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SELECT pg_advisory_lock(1)",
    "SELECT dblink_exec('x', 'y')",
    "COPY t TO PROGRAM 'curl x'",
    "COPY t FROM STDIN",
    "NOTIFY a",
    "DO $$ BEGIN END $$",
    "CALL p()",
    "SET ROLE x",
    "SET TRANSACTION READ WRITE",
    "BEGIN READ WRITE",
    "START TRANSACTION READ WRITE",
    "PRAGMA query_only = 0",
    "PRAGMA writable_schema",
    "ATTACH 'x' AS y",
    "SELECT load_extension('x')",
    r"SELECT '\'; DELETE FROM t; --'",
    "ﬁx",
]


@pytest.mark.parametrize("sql", READING)
def test_what_reads(sql: str) -> None:
    assert statements.only_reads(sql)


@pytest.mark.parametrize("sql", WRITING)
def test_what_does_not_only_read(sql: str) -> None:
    assert not statements.only_reads(sql)


@given(st.text(alphabet="SELECTINSERTINTO t'\"-/*;$()\n", max_size=60))
def test_no_text_that_sqlite_takes_for_a_write_is_a_read(text: str) -> None:
    """SQLite's own parser is the oracle: whatever it prepares and calls a change must not pass."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (i)")
    changed: list[int] = []
    connection.set_authorizer(lambda action, *_: changed.append(action) or sqlite3.SQLITE_OK)
    try:
        connection.executescript(text)
    except (sqlite3.Error, ValueError):
        pass
    finally:
        connection.close()
    if {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_UPDATE} & set(changed):
        assert not statements.only_reads(text)


def test_reading_commands_are_those_that_a_server_flags(servers: Servers) -> None:
    with redis.Redis.from_url(str(servers.endpoints.valkey_url), decode_responses=True) as client:
        flags = {name.upper(): set(info["flags"]) for name, info in client.execute_command("COMMAND").items()}
    known = {name for name in commands.READING if name in flags}
    assert len(known) > 60
    assert [name for name in known if "readonly" not in flags[name] or "write" in flags[name]] == []
    assert [name for name in commands.CONNECTION if "write" in flags.get(name, set())] == []
    writing = [name for name, held in flags.items() if "write" in held]
    assert [name for name in writing if commands.only_reads([name.encode(), b"GET"])] == []


@given(st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=5), min_size=1, max_size=4))
def test_packed_commands_are_parsed_as_they_were_packed(packed: list[list[bytes]]) -> None:
    raw = b"".join(
        b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words) for words in packed
    )
    assert list(commands.parse(raw)) == packed


@given(st.binary(min_size=1, max_size=60))
def test_what_is_no_command_ends_as_one_that_is_not_known(raw: bytes) -> None:
    for words in commands.parse(raw):
        commands.only_reads(words)


@pytest.mark.parametrize(
    ("text", "host", "port", "covered"),
    [
        ("127.0.0.1:5432", "127.0.0.1", 5432, True),
        ("127.0.0.1:5432", "127.0.0.1", 5433, False),
        ("localhost:1", "127.0.0.1", 1, True),
        ("localhost:1", "::1", 1, True),
        ("127.0.0.1:1", "::ffff:127.0.0.1", 1, True),
        ("127.0.0.1:1", "0.0.0.0", 1, True),
        ("[::1]:1", "::1", 1, True),
        ("LOCALHOST.:1", "localhost", 1, True),
        ("localhost:*", "localhost", 7, True),
        ("*", "anything", 9, True),
        ("unix:/run/a.sock", "unix:/run/a.sock", None, True),
        ("unix:/run/a.sock", "unix:/run/b.sock", None, False),
        ("postgresql+psycopg://u:p@127.0.0.1/db", "127.0.0.1", 5432, True),
        ("https://127.0.0.1/x", "127.0.0.1", 443, True),
    ],
)
def test_an_endpoint_covers(text: str, host: str, port: int | None, covered: bool) -> None:
    assert Endpoints([text]).covers(host, port) is covered


@pytest.mark.parametrize("text", ["h:1", "h:*", "[::1]:1", "*", "unix:/run/a.sock", "127.0.0.1:*"])
def test_an_endpoint_is_written_as_it_is_read(text: str) -> None:
    assert str(parse(text)) == text


def test_names_stand_for_their_addresses_at_entry() -> None:
    found = Endpoints(["db.example:5432"], lambda host: ("10.0.0.9",) if host == "db.example" else ())
    assert found.covers("db.example", 5432)
    assert found.covers("10.0.0.9", 5432)
    assert not found.covers("10.0.0.8", 5432)
    assert found.names("DB.EXAMPLE.")
    assert not found.names("example")


@given(st.text(max_size=40))
def test_normal_is_normal(host: str) -> None:
    assert normal(normal(host)) == normal(host)


def test_a_refused_endpoint_tells_no_password() -> None:
    with pytest.raises(Exception, match="written host:port") as caught:
        parse("postgresql://u:hunter2@/db:x")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given_text", "hidden"),
    [
        ('{"a": {"api_key": "hunter2"}}', "hunter2"),
        ('{"password": "hunter2", "broken": ', "hunter2"),
        ("user=a&password=hunter2", "hunter2"),
        ("curl -H x --password hunter2 http://h", "hunter2"),
        ("run --api-key=hunter2", "hunter2"),
        ("PGPASSWORD=hunter2 psql", "hunter2"),
        ("INSERT INTO cards VALUES ('4111 1111 1111 1111')", "1111"),
        ("postgresql://u:hunter2@h/d", "hunter2"),
    ],
)
def test_an_excerpt_has_no_secret(given_text: str, hidden: str) -> None:
    assert hidden not in excerpts.of_body(given_text)
    assert hidden not in excerpts.of_body(given_text.encode())
    assert excerpts.of_body(given_text) != ""


@given(st.one_of(st.text(), st.binary(), st.none(), st.integers()))
def test_an_excerpt_of_anything_is_short(body: object) -> None:
    assert len(excerpts.of_body(body)) <= excerpts.MAX_EXCERPT + 10


@given(st.binary(max_size=130))
def test_any_address_is_read_or_refused(raw: bytes) -> None:
    found = decode(raw)
    assert found is None or isinstance(found[0], str)
