"""SQLAlchemy on a box: each session has its own transaction."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import StaticPool, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from valhalla.sandbox.local import local

INSERT = text("INSERT INTO communities (name) VALUES ('a')")
COUNT = text("SELECT count(*) FROM communities")


def test_sessions_are_isolated_and_rollback_takes_back_only_their_own(tmp_path: Path) -> None:
    with local(path=tmp_path) as box, Session(box.engine()) as one, Session(box.engine()) as other:
        one.execute(INSERT)
        assert other.scalar(COUNT) == 0
        other.rollback()
        one.commit()
        assert other.scalar(COUNT) == 1


def test_two_sessions_of_one_engine_in_memory_do_not_share_a_transaction() -> None:
    with local() as box:
        engine = box.engine(connect_args={})
        with Session(engine) as one, Session(engine) as other:
            one.execute(INSERT)
            one.rollback()
            other.execute(INSERT)
            other.commit()
            assert one.scalar(COUNT) == 1


def test_a_session_reads_one_state_until_it_ends(tmp_path: Path) -> None:
    with local(path=tmp_path) as box:
        engine = box.engine()
        with Session(engine) as reader, Session(engine) as writer:
            assert reader.scalar(COUNT) == 0
            writer.execute(INSERT)
            writer.commit()
            assert reader.scalar(COUNT) == 0
            reader.rollback()
            assert reader.scalar(COUNT) == 1


def test_savepoints_nest() -> None:
    with local() as box, Session(box.engine()) as session:
        session.execute(INSERT)
        inner = session.begin_nested()
        session.execute(INSERT)
        inner.rollback()
        session.commit()
        assert session.scalar(COUNT) == 1


def test_ddl_is_rolled_back_too() -> None:
    with local() as box, box.engine().connect() as connection:
        connection.execute(text("CREATE TABLE extra (x)"))
        connection.rollback()
        with pytest.raises(OperationalError, match="no such table"):
            connection.execute(text("SELECT * FROM extra"))


def test_autocommit_commits(tmp_path: Path) -> None:
    with local(path=tmp_path) as box:
        with box.engine(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(INSERT)
        assert box.connect().execute("SELECT count(*) FROM communities").fetchone() == (1,)


def test_foreign_keys_hold_and_reset_is_seen_through_a_pool() -> None:
    with local() as box:
        engine = box.engine()
        with engine.begin() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
            connection.execute(INSERT)
        box.reset()
        with engine.connect() as connection:
            assert connection.scalar(COUNT) == 0


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_the_url_alone_reaches_the_same_data(kind: str, tmp_path: Path) -> None:
    with local(path=tmp_path if kind == "file" else None) as box:
        with box.engine().begin() as connection:
            connection.execute(INSERT)
        other = create_engine(box.url)
        with other.connect() as connection:
            assert connection.scalar(COUNT) == 1
        other.dispose()


def test_options_reach_create_engine() -> None:
    with local() as box:
        assert isinstance(box.engine(poolclass=StaticPool).pool, StaticPool)
