"""What is in the files, who may have them, and how an export ends."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.features.data_exports.conftest import ROWS, Scene

from valhalla.features.data.exports import Draft
from valhalla.features.data.exports.errors import BadSignature, ExportNotFound, ExportNotReady, UnknownSource
from valhalla.features.data.exports.storage import MANIFEST
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kernel.problems import Forbidden, IllegalTransition, Invalid
from valhalla.kit.relations import Condition

START = datetime(2026, 3, 1, tzinfo=UTC)
READER = Principal("reader", "team", frozenset({"exports:write", "logs:read"}))
VIEWER = Principal("viewer", "team", frozenset({"exports:write", "alerts:read"}))


async def test_a_csv_has_every_row_as_it_is_and_a_manifest_that_says_so(scene: Scene) -> None:
    made = await scene.make(by=READER, since=START, columns=("id", "at", "level", "message", "correlation_id"))

    assert (made.status, made.rows, made.expires_at is not None) == ("completed", ROWS, True)
    data = scene.read(made)
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert len(rows) == ROWS
    assert rows[49]["message"] == 'quoted "text",\nwith a second line'
    assert rows[50]["message"] == "back\\slash \\. and tab\t."
    assert rows[0]["at"] == "2026-03-01 00:00:01+00"
    # an empty text is quoted, nothing at all is not
    assert data.count(b',""\n') == ROWS // 3
    assert made.manifest is not None
    assert made.manifest["rows"] == ROWS
    assert made.manifest["files"][0]["sha256"] == hashlib.sha256(data).hexdigest()
    assert [one["name"] for one in made.manifest["schema"]] == ["id", "at", "level", "message", "correlation_id"]
    folder = scene.folder / "exports" / made.id
    assert {one.name for one in folder.iterdir()} == {made.files[0].name, MANIFEST}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / made.files[0].name).stat().st_mode & 0o777 == 0o600


async def test_json_lines_are_compressed_filtered_and_bounded(scene: Scene) -> None:
    conditions = (
        Condition("level", "gte", 30),
        Condition("context.n", "in", ["20", "40", "60"]),
        Condition("category", "ne", "x"),
    )
    made = await scene.make(
        format="jsonl", compression="gzip", conditions=conditions, since=START, until=START + timedelta(seconds=50)
    )

    lines = [json.loads(line) for line in gzip.decompress(scene.read(made)).splitlines()]
    assert [line["context"]["n"] for line in lines] == [20, 40]
    assert lines[0]["context"]["text"] == 'a\nb "c"'
    assert datetime.fromisoformat(lines[0]["at"]) == START + timedelta(seconds=20)


async def test_persons_have_pseudonyms_that_differ_between_exports(scene: Scene) -> None:
    found = []
    for _ in range(2):
        made = await scene.make(format="jsonl", profile="strict", columns=("principal",), since=START)
        found.append([json.loads(line)["principal"] for line in scene.read(made).splitlines()])

    assert len(set(found[0])) == 7
    assert not set(found[0]) & set(found[1])
    assert not any("client" in name for name in found[0])
    with pytest.raises(Forbidden):
        await scene.service.request(READER, Draft("logs", profile="none"))


async def test_views_are_exported_by_name_with_masked_columns_and_others_are_not(scene: Scene) -> None:
    made = await scene.make("view:reporting.daily", format="jsonl")

    lines = [json.loads(line) for line in scene.read(made).splitlines()]
    assert len(lines) == ROWS
    assert lines[0] == {**lines[0], "note": "***", "password": "***", "day": "2026-03-01"}
    for name in ("view:reporting.hidden", "view:reporting.gone", "view:pg_catalog.pg_authid", "nothing", "registry:x"):
        with pytest.raises(UnknownSource):
            await scene.service.request(SYSTEM, Draft(name))


async def test_nobody_exports_or_sees_what_they_may_not_read(scene: Scene) -> None:
    with pytest.raises(Forbidden):
        await scene.service.request(VIEWER, Draft("logs"))
    made = await scene.make(by=READER, columns=("id",))
    with pytest.raises(ExportNotFound):
        await scene.service.get(VIEWER, made.id)
    with pytest.raises(ExportNotFound):
        await scene.service.file(VIEWER, made.id, MANIFEST)
    assert made.id not in {one.id for one in (await scene.service.page(VIEWER)).items}
    assert made.id in {one.id for one in (await scene.service.page(READER)).items}


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": ("nothing",)},
        {"columns": ("id", "id")},
        {"conditions": (Condition("level", "eq", "x"),)},
        {"conditions": (Condition("message", "eq", 3),)},
        {"conditions": (Condition("nothing", "eq", 3),)},
        {"conditions": (Condition("level.deep", "eq", 3),)},
        {"conditions": (Condition("at", "gte", "yesterday"),)},
        {"conditions": (Condition("id", "eq", 2**64),)},
        {"conditions": (Condition("context", "eq", "x"),)},
        {"since": START, "until": START - timedelta(days=1)},
        {"format": "sql"},
    ],
)
async def test_what_does_not_fit_is_refused(scene: Scene, wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        await scene.service.request(SYSTEM, Draft("logs", **wrong))  # type: ignore[arg-type]


async def test_a_cancelled_export_has_no_files_and_stays_cancelled(scene: Scene) -> None:
    made = await scene.service.request(SYSTEM, Draft("logs"))
    ended = await scene.service.cancel(SYSTEM, made.id)

    assert ended.status == "cancelled"
    assert await scene.feature.runner.execute(made.id) == "over"
    with pytest.raises(IllegalTransition):
        await scene.service.cancel(SYSTEM, made.id)
    with pytest.raises(ExportNotReady):
        await scene.service.file(SYSTEM, made.id, MANIFEST)


async def test_an_address_gives_one_file_for_a_while(scene: Scene) -> None:
    made = await scene.make(columns=("id",))
    _, links = await scene.service.links(SYSTEM, made.id, timedelta(seconds=60))
    url = links[MANIFEST]
    expires, signature = (part.split("=")[1] for part in url.partition("?")[2].split("&"))

    path = await scene.service.linked(made.id, MANIFEST, int(expires), signature)
    assert json.loads(Path(path).read_bytes())["export"] == made.id
    for name, until, signed in (
        (made.files[0].name, int(expires), signature),
        (MANIFEST, int(expires) + 1, signature),
        (MANIFEST, int(expires), signature[:-1] + ("0" if signature[-1] != "0" else "1")),
        (MANIFEST, int(expires), "ü"),
    ):
        with pytest.raises(BadSignature):
            await scene.service.linked(made.id, name, until, signed)
    _, links = await scene.service.links(SYSTEM, made.id, timedelta(seconds=-1))
    expires, signature = (part.split("=")[1] for part in links[MANIFEST].partition("?")[2].split("&"))
    with pytest.raises(BadSignature):
        await scene.service.linked(made.id, MANIFEST, int(expires), signature)


async def test_files_go_when_their_time_is_over_and_the_record_stays(scene: Scene) -> None:
    made = await scene.make(columns=("id",))
    await scene.db.run(
        lambda conn: conn.exec_driver_sql(
            f"UPDATE valhalla.export_jobs SET expires_at = now() - interval '1 s' WHERE id = '{made.id}'"
        )
    )

    assert await scene.feature.tidy() == 1
    found = await scene.service.get(SYSTEM, made.id)
    assert (found.status, found.removed_at is not None) == ("completed", True)
    assert not (scene.folder / "exports" / made.id).exists()
    with pytest.raises(ExportNotReady):
        await scene.service.links(SYSTEM, made.id, timedelta(seconds=60))
