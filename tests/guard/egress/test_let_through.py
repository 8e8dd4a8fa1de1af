"""What a sealed block may still do: reads, named endpoints, named directories."""

from __future__ import annotations

import http.client
import os
import socket
import sqlite3
from pathlib import Path

import httpx
import psycopg
import pytest
import requests
import requests.adapters
import sqlalchemy as sa
from tests.guard.egress.world import PYTHON, Web, World, connect

from valhalla.guard.egress import EgressBlocked, Layer, sealed


@pytest.mark.parametrize("client", ["requests", "httpx", "urllib"])
def test_reads_pass_the_protocol_layer_and_are_kept(web: Web, client: str) -> None:
    with requests.Session() as session, httpx.Client() as other:
        session.get(web.url)
        other.get(web.url)
        kept = http.client.HTTPConnection("127.0.0.1", web.port)
        kept.connect()
        with sealed(layers=PYTHON) as seal:
            if client == "urllib":
                kept.request("GET", "/pay")
                kept.getresponse().read()
            else:
                assert (session if client == "requests" else other).get(web.url).status_code == 200
        kept.close()

    assert {(attempt.what, attempt.verdict) for attempt in seal.attempts} == {("GET", "read")}
    assert seal.blocked == ()


def test_an_allowed_endpoint_takes_anything(web: Web, world: World) -> None:
    before = web.posts
    with sealed([f"localhost:{web.port}"]) as seal:
        requests.post(web.url, data=b"x")
        httpx.post(web.url, content=b"x")
        with pytest.raises(EgressBlocked):
            connect(world.mail.port)

    assert web.posts == before + 2
    assert [attempt.where for attempt in seal.attempts] == [f"127.0.0.1:{world.mail.port}"]


def test_an_endpoint_for_reads_takes_reads_only(web: Web) -> None:
    before = web.posts
    with sealed(reads=[web.url]):
        assert requests.get(web.url).status_code == 200
        with pytest.raises(EgressBlocked):
            requests.post(web.url, data=b"x")
    assert web.posts == before


def test_files_change_only_in_named_directories(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)

    def body() -> None:
        (inside / "a").write_text("x")
        (inside / "a").rename(inside / "b")
        (inside / "b").unlink()
        with pytest.raises(EgressBlocked):
            (outside / "a").write_text("x")
        with pytest.raises(EgressBlocked):
            (inside / "link" / "a").write_text("x")
        with Path(os.devnull).open("w") as nothing:
            nothing.write("x")

    with sealed(files=[inside]) as seal:
        body()
        seal.run(body)
    assert list(outside.iterdir()) == []
    assert len(seal.blocked) == 4


def test_names_are_not_asked_for() -> None:
    with sealed(["db.invalid:5432"]) as seal:
        for ask in (socket.getaddrinfo, lambda name, _: socket.gethostbyname(name)):
            with pytest.raises(EgressBlocked):
                ask("elsewhere.invalid", 80)
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("db.invalid", 80)
        assert socket.getaddrinfo("localhost", 80)
    assert {attempt.where for attempt in seal.attempts} == {"elsewhere.invalid"}


def test_postgres_reads_run_read_only(world: World) -> None:
    """A function may write whatever its name: the transaction does not let it."""
    with psycopg.connect(world.postgres, autocommit=True) as admin:
        admin.execute("CREATE OR REPLACE FUNCTION public.harmless() RETURNS int LANGUAGE plpgsql AS "
                      "$$ BEGIN CREATE TABLE public.sneaked (i int); RETURN 1; END $$")  # fmt: skip
    connection = world.closing(psycopg.connect(world.postgres))
    engine = sa.create_engine(world.postgres.replace("postgresql:", "postgresql+psycopg:"))
    world.closers.append(engine.dispose)
    engine.connect().close()
    with sealed(reads=[world.postgres]):
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("SELECT public.harmless()")
        connection.rollback()
        with engine.connect() as one, pytest.raises(sa.exc.InternalError, match="read-only"):
            one.exec_driver_sql("SELECT public.harmless()")
        with pytest.raises(EgressBlocked):
            connection.execute("SELECT pg_notify('a', 'b')")
        connection.rollback()
    # and leaves nothing behind in what is pooled
    with engine.begin() as one:
        one.exec_driver_sql("SELECT public.harmless()")
        one.exec_driver_sql("DROP TABLE public.sneaked")


def test_sqlite_reads_only_while_sealed(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.begin() as one:
        one.exec_driver_sql("CREATE TABLE t (i int)")
        one.exec_driver_sql("INSERT INTO t VALUES (1)")
    with sealed(layers=[Layer.PROTOCOL]) as seal:
        with engine.begin() as one:
            assert one.exec_driver_sql("SELECT i FROM t").scalar_one() == 1
            with pytest.raises(sa.exc.DatabaseError, match="not authorized"):
                one.exec_driver_sql("INSERT INTO t VALUES (2)")
        with sqlite3.connect(tmp_path / "a.db") as bare, pytest.raises(sqlite3.DatabaseError):
            bare.execute("DELETE FROM t")
        sqlite3.connect(":memory:").execute("CREATE TABLE free (i int)")
    assert [attempt.what for attempt in seal.blocked] == ["SQLite INSERT t", "SQLite DELETE t"]
    with engine.begin() as one:
        one.exec_driver_sql("INSERT INTO t VALUES (3)")
        assert one.exec_driver_sql("SELECT count(*) FROM t").scalar_one() == 2
    engine.dispose()
