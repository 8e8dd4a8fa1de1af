"""Each server's own promises: loopback only, who may log in, what it is set to."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from valhalla.embedded import MissingBinary, Stack, StartFailed, binaries
from valhalla.embedded.errors import start_failed
from valhalla.embedded.ports import Ports, is_free
from valhalla.embedded.resp import Connection, RefusedError
from valhalla.kit.cellkey import CellKey
from valhalla.kit.natsauth import KeyPair, account_jwt, operator_key, trust

MakeStack = Callable[..., Stack]


def test_postgres_settings(make_stack: MakeStack, data_dir: Path) -> None:
    """Durable, loopback only, password only, and silent about statements."""
    endpoints = make_stack("postgres").start()
    assert endpoints.postgres_superuser_url
    assert endpoints.valkey_url is None
    with psycopg.connect(endpoints.postgres_superuser_url, autocommit=True) as connection:

        def show(name: str) -> str:
            row = connection.execute(f"SHOW {name}").fetchone()
            assert row
            return row[0]

        assert show("server_version").startswith("18.")
        assert show("listen_addresses") == "127.0.0.1"
        assert show("unix_socket_directories") == ""
        assert show("max_connections") == "200"
        assert show("reserved_connections") == "10"
        assert show("max_locks_per_transaction") == "1024"
        assert [show(n) for n in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")] == ["on"] * 4
        locale = connection.execute("SELECT datlocprovider, datlocale, encoding FROM pg_database LIMIT 1").fetchone()
        assert locale in (("b", "C.UTF-8", 6), (b"b", "C.UTF-8", 6))
        with pytest.raises(psycopg.Error):
            connection.execute("ALTER ROLE nobody_here PASSWORD 'hunter2-secret'")
        with pytest.raises(psycopg.Error):
            connection.execute("DO $$BEGIN EXECUTE 'ALTER ROLE nobody_here PASSWORD ''hunter2-secret'''; END$$")
    assert "hunter2" not in (data_dir / "logs" / "postgres.log").read_text()
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{endpoints.postgres_port}/postgres")


def test_valkey_users_and_slots(make_stack: MakeStack) -> None:
    """Only the administrator logs in; all slots are here; keys can be written when start returns."""
    url = make_stack("valkey").start().valkey_url
    assert url
    with redis.Redis.from_url(url) as admin:
        assert admin.set("a", 1)
        info = admin.execute_command("CLUSTER INFO")
        assert info["cluster_slots_assigned"] == "16384"
        assert info["cluster_state"] == "ok"
        port = admin.connection_pool.connection_kwargs["port"]
        assert port <= 55_535
        assert admin.config_get("*")["proto-max-bulk-len"] == str(1 << 20)
        assert admin.config_get("acl-pubsub-default") == {"acl-pubsub-default": "resetchannels"}
        assert admin.config_get("append*")["appendonly"] == "yes"
        assert "off" in admin.acl_getuser("default")["flags"]
    with Connection(port) as nobody:
        for words, answer in (
            (("PING",), "NOAUTH"),
            (("AUTH", "valhalla", "wrong"), "WRONGPASS"),
            (("PING",), "NOAUTH"),
        ):
            with pytest.raises(RefusedError, match=answer):
                nobody.call(*words)


def test_nats_greets_and_keeps_newer_tokens(make_stack: MakeStack, cell: CellKey) -> None:
    """The server offers JetStream and asks for a token; an account that was updated stays updated."""
    stack = make_stack("nats")
    endpoints = stack.start()
    assert endpoints.nats_url
    assert endpoints.nats_jwt_dir
    port = int(endpoints.nats_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as file:
        greeting = json.loads(file.readline().removeprefix(b"INFO "))
    assert greeting["jetstream"] is True
    assert greeting["auth_required"] is True
    assert greeting["max_payload"] == 1_000_000 or greeting["max_payload"] == 1 << 20
    trusted = trust(cell)
    assert {p.stem for p in endpoints.nats_jwt_dir.glob("*.jwt")} == set(trusted.accounts)
    control = KeyPair.derive(cell, "account", "control").public
    stored = endpoints.nats_jwt_dir / f"{control}.jwt"
    for token, kept in (
        (account_jwt(operator_key(cell), control, name="VALHALLA", revocations={"*": 1}), True),
        (account_jwt(operator_key(cell), control, name="VALHALLA", issued_at=1), False),
        ("half a tok", False),
    ):
        stack.stop()
        stored.write_text(token)
        stack.start()
        assert stored.read_text() == (token if kept else trusted.accounts[control])


def test_a_taken_port_is_replaced(make_stack: MakeStack, data_dir: Path) -> None:
    """When somebody listens on the last port, a new one is chosen and kept; so for Valkey's bus port."""
    stack = make_stack("nats", "valkey")
    stack.start(settle=False)
    stack.stop()
    before = json.loads((data_dir / "ports.json").read_text())
    with (
        socket.create_server(("127.0.0.1", before["nats"])),
        socket.create_server(("127.0.0.1", before["valkey"] + 10_000)),
    ):
        stack.start(settle=False)
        after = json.loads((data_dir / "ports.json").read_text())
        assert after["nats"] != before["nats"]
        assert after["valkey"] != before["valkey"]
        assert str(after["nats"]) in (stack.endpoints.nats_url or "")


@pytest.mark.parametrize(
    "service", ["postgres", *(pytest.param(s, marks=pytest.mark.slow) for s in ("valkey", "nats"))]
)
def test_a_lost_race_for_a_port_is_tried_again(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    """A port that is taken between our look and the server's bind costs a second try, not the start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(Ports, "take", lambda self, name: port)
        stack = make_stack(service)
        stack.start(settle=False)
        assert stack.alive() == {service: True}
        assert str(port) not in repr(stack.endpoints)


def test_ports_survive_a_damaged_file(tmp_path: Path) -> None:
    """What makes no sense in the file is chosen anew."""
    path = tmp_path / "ports.json"
    for text in ("{", "[]", '{"nats": "x"}', '{"nats": 80}'):
        path.write_text(text)
        port = Ports(path).take("nats")
        assert is_free(port)
        assert json.loads(path.read_text()) == {"nats": port}
    assert Ports(path).take("nats") == port


@pytest.mark.parametrize("service", ["postgres", "valkey", "nats"])
def test_a_missing_program_says_what_to_install(
    make_stack: MakeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    """The problem names the service and the extra that brings it, and the directory is free again."""
    with monkeypatch.context() as patch:
        patch.setattr(binaries, "_package", lambda name: tmp_path / name)
        patch.setattr(binaries.sysconfig, "get_path", lambda *_: str(tmp_path))
        patch.setattr(binaries.sys, "executable", str(tmp_path / "python"))
        patch.setattr(binaries.shutil, "which", lambda name: None)
        with pytest.raises(MissingBinary, match=f"embedded {service} is missing") as missing:
            make_stack(service).start()
    assert "valhalla[embedded]" in missing.value.advice
    make_stack(service).start(settle=False)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("FATAL: could not write: No space left on device", "is full"),
        ("bind: address already in use", "taking the ports"),
        ("something else", StartFailed.help),
    ],
)
def test_a_failure_advises(line: str, advice: str) -> None:
    """Known causes get their own advice, and only 20 lines are shown."""
    problem = start_failed("nats", "ended", Path("/data/logs/nats.log"), [f"{n}" for n in range(50)] + [line])
    assert advice in problem.advice
    assert problem.detail.count("\n") == 20
    assert problem.document()["status"] == 503
