"""Exports that are killed, find no room, or go to another machine; and what reads their files."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.conftest import Servers
from tests.features.data_exports.conftest import MANY, Scene

from valhalla.features.data.exports import Draft, Export
from valhalla.features.data.exports.errors import ExportNotReady
from valhalla.features.data.exports.storage import MANIFEST
from valhalla.kernel.principal import SYSTEM
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database

pytestmark = pytest.mark.slow


# a day of its own, so that others' rows stay as they are
DAY = datetime(2026, 3, 2, tzinfo=UTC)


SPAN = {"since": DAY, "until": DAY + timedelta(days=1)}


FORMS = [("csv", "none"), ("csv", "gzip"), ("jsonl", "zstd"), ("parquet", "zstd")]


def _process(scene: Scene, servers: Servers, export: Export) -> subprocess.Popen[str]:
    key = (servers.data_dir / "cell.key").read_text().strip()
    return subprocess.Popen(
        [
            *(sys.executable, "-W", "ignore", "-m", "tests.features.data_exports.making"),
            *(scene.db.dsn, key, str(scene.folder), export.id),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _digests(scene: Scene, export: Export) -> list[tuple[int, str]]:
    folder = scene.folder / "exports" / export.id
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    return [(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


@pytest.mark.parametrize(("form", "compression"), FORMS)
async def test_a_killed_export_goes_on_and_its_files_are_the_same_to_the_byte(
    scene: Scene, servers: Servers, many: Database, form: Any, compression: Any
) -> None:
    whole, killed = [await scene.service.request(SYSTEM, Draft("logs", form, compression, **SPAN)) for _ in range(2)]
    # of Parquet several files, so that there is something to go on from
    sizes = '{"chunk_rows": 65536, "part_rows": 131072}'
    smaller = f"UPDATE valhalla.export_jobs SET query = query || '{sizes}' WHERE format = 'parquet'"
    await many.run(lambda conn: conn.exec_driver_sql(smaller))
    await scene.feature.runner.execute(whole.id)

    kills = 0
    while True:
        process = _process(scene, servers, killed)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0 + 0.35 * kills)
        if process.returncode is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert process.stdout is not None
    # the last kill may have met the end of a process that was done
    assert process.stdout.read() in ("completed\n", "over\n")

    done = await scene.service.get(SYSTEM, killed.id)
    assert (done.status, done.rows, kills > 0) == ("completed", MANY, True)
    assert _digests(scene, done) == _digests(scene, whole)
    assert [(file.bytes, file.sha256) for file in done.files] == _digests(scene, done)


async def test_parquet_is_read_by_others_with_types_and_nothing_missing(scene: Scene) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = await scene.make(format="parquet", since=DAY - timedelta(days=1), until=DAY)

    table = pq.read_table(scene.folder / "exports" / made.id / made.files[0].name)
    assert table.num_rows == made.rows == 2000
    assert table.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("level").type == pa.int64()
    rows = table.slice(0, 50).to_pylist()
    assert rows[0]["at"] == DAY - timedelta(days=1) + timedelta(seconds=1)
    assert rows[49]["message"] == 'quoted "text",\nwith a second line'
    # an empty text and nothing at all are two things
    assert [row["correlation_id"] for row in rows[:3]] == [None, "c-2", ""]


async def test_duckdb_reads_our_parquet_as_the_database_has_it(scene: Scene, many: Database) -> None:
    import duckdb

    made = await scene.make(format="parquet", columns=("at", "level", "message", "context", "owner"), **SPAN)

    files = str(scene.folder / "exports" / made.id / "*.parquet")
    with duckdb.connect() as duck:
        columns = duck.execute("DESCRIBE SELECT * FROM read_parquet(?)", [files]).fetchall()
        assert [(row[0], row[1]) for row in columns[:3]] == [
            ("at", "TIMESTAMP WITH TIME ZONE"), ("level", "BIGINT"), ("message", "VARCHAR")
        ]  # fmt: skip
        [theirs] = duck.execute(
            "SELECT count(*), count(owner), sum(level), sum(length(message)),"
            ' sum(CAST(json_extract_string(context, \'$.n\') AS BIGINT)), epoch_us(min("at")), epoch_us(max("at"))'
            " FROM read_parquet(?)",
            [files],
        ).fetchall()
    ours = await many.read(
        lambda conn: conn.execute(
            sa.text(
                "SELECT count(*), count(owner), sum(level), sum(length(message)), sum((context->>'n')::bigint),"
                " (extract(epoch FROM min(at)) * 1000000)::bigint, (extract(epoch FROM max(at)) * 1000000)::bigint"
                " FROM valhalla.system_logs WHERE at >= :since AND at < :until"
            ),
            SPAN,
        ).one()
    )
    assert list(theirs) == list(ours)


async def test_a_view_that_fails_in_the_middle_ends_the_export_and_says_why(scene: Scene, many: Database) -> None:
    def view(conn: Any) -> None:
        conn.execute(
            sa.text(
                "CREATE OR REPLACE VIEW reporting.daily AS SELECT n AS id, 1 / (300000 - n) AS share"
                " FROM generate_series(1, 400000) AS n"
            )
        )

    kept = "SELECT pg_get_viewdef('reporting.daily'::regclass)"
    before = await many.read(lambda conn: conn.execute(sa.text(kept)).scalar_one())
    await many.run(lambda conn: conn.execute(sa.text("DROP VIEW reporting.daily")))
    await many.run(view)
    try:
        for form in ("csv", "parquet"):
            made = await scene.make("view:reporting.daily", format=form)
            assert made.error is not None
            assert (made.status, made.error["code"]) == ("failed", "export-refused")
            assert "division by zero" in made.error["detail"]
    finally:
        await many.run(lambda conn: conn.execute(sa.text("DROP VIEW reporting.daily")))
        await many.run(lambda conn: conn.exec_driver_sql(f"CREATE VIEW reporting.daily AS {before}"))


async def test_how_far_it_is_is_told_while_it_runs(scene: Scene, many: Database) -> None:
    made = await scene.make(format="jsonl", compression="gzip", **SPAN)

    query = "SELECT data FROM valhalla.events WHERE type = 'export.progress' AND subject = :subject ORDER BY id"
    told = await many.read(lambda conn: list(conn.scalars(sa.text(query), {"subject": f"export.{made.id}"})))
    assert told
    assert [each["rows"] for each in told] == sorted(each["rows"] for each in told)
    assert all(0 <= each["rows"] <= MANY and each["status"] == "running" for each in told)


async def test_a_child_that_dies_is_no_end(scene: Scene, many: Database) -> None:
    made = await scene.service.request(SYSTEM, Draft("logs", "jsonl", "gzip", **SPAN))
    making = asyncio.create_task(scene.feature.runner.execute(made.id))
    deadline = time.monotonic() + 30
    while not (found := _children()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    os.kill(found[0], signal.SIGKILL)
    with pytest.raises(Unavailable):
        await making

    assert await scene.feature.runner.execute(made.id) == "completed"
    assert (await scene.service.get(SYSTEM, made.id)).rows == MANY


def _children() -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{os.getpid()}/task").iterdir():
        for child in (path / "children").read_text().split():
            with contextlib.suppress(OSError):
                if b"valhalla.kit.copying" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return found


async def test_a_full_disk_ends_the_export_and_leaves_nothing(scene: Scene, many: Database) -> None:
    made = await scene.service.request(SYSTEM, Draft("logs", **SPAN))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # the child that begins meanwhile meets EFBIG, as others meet ENOSPC
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * 2**20, before[1]))
    try:
        assert await scene.feature.runner.execute(made.id) == "failed"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    found = await scene.service.get(SYSTEM, made.id)
    assert found.error is not None
    assert (found.status, found.error["code"]) == ("failed", "export-disk-full")
    assert not (scene.folder / "exports" / made.id).exists()
    with pytest.raises(ExportNotReady):
        await scene.service.file(SYSTEM, made.id, MANIFEST)


async def test_files_are_bounded(db: Database, servers: Servers, tmp_path: Path, many: Database) -> None:
    scene = Scene(db, servers, tmp_path, export_max_mb=5)
    for form in ("csv", "parquet"):
        made = await scene.make(format=form, compression="none", **SPAN)
        assert made.error is not None
        assert (made.status, made.error["code"]) == ("failed", "export-too-large")


async def test_an_export_that_is_cancelled_while_it_runs_ends_its_child(scene: Scene, many: Database) -> None:
    made = await scene.service.request(SYSTEM, Draft("logs", "csv", "gzip", **SPAN))
    making = asyncio.create_task(scene.feature.runner.execute(made.id))
    while (await scene.service.get(SYSTEM, made.id)).rows == 0:
        await asyncio.sleep(0.01)
    await scene.service.cancel(SYSTEM, made.id)

    assert await making in ("over", "failed", "completed")
    assert (await scene.service.get(SYSTEM, made.id)).status == "cancelled"
    assert _children() == []
    assert not (scene.folder / "exports" / made.id).exists()


async def test_files_go_to_s3_and_are_fetched_from_there(
    db: Database, servers: Servers, tmp_path: Path, s3: str, many: Database
) -> None:
    scene = Scene(
        db,
        servers,
        tmp_path,
        export_store="s3://exports/of/ours",
        export_s3_endpoint=s3,
        export_s3_region="us-east-1",
        export_s3_key="key",
        export_s3_secret="secret",
    )
    await scene.feature.start()

    made = await scene.make(**SPAN)

    assert (made.status, made.store) == ("completed", "s3")
    assert not (tmp_path / "exports" / made.id).exists()
    address = await scene.service.file(SYSTEM, made.id, made.files[0].name)
    assert isinstance(address, str)
    # larger than one part of an upload
    data = httpx.get(address, timeout=60).content
    assert (len(data) > 16 * 2**20, hashlib.sha256(data).hexdigest()) == (True, made.files[0].sha256)
    _, links = await scene.service.links(SYSTEM, made.id, timedelta(seconds=60))
    assert httpx.get(links[MANIFEST]).json()["rows"] == MANY
    await scene.feature.remove(made)
    assert httpx.get(address).status_code == 404


async def test_a_bucket_that_is_away_is_tried_again(db: Database, servers: Servers, tmp_path: Path, s3: str) -> None:
    members = {"export_s3_endpoint": s3, "export_s3_region": "us-east-1"}
    scene = Scene(
        db,
        servers,
        tmp_path,
        export_store="s3://nowhere/x",
        export_s3_key="key",
        export_s3_secret="secret",
        **members,
    )
    await scene.feature.start()
    made = await scene.service.request(SYSTEM, Draft("logs", until=DAY))
    from valhalla.features.data.exports.errors import StorageAway

    with pytest.raises(StorageAway):
        await scene.feature.runner.execute(made.id)
    assert httpx.put(f"{s3}/nowhere", timeout=5).status_code == 200
    assert await scene.feature.runner.execute(made.id) == "completed"
