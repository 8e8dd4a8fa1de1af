"""Data is exported, fetched, kept and purged from the command line of a real control plane."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.calling import Run


@pytest.mark.slow
def test_data_is_exported_fetched_and_its_retention_looked_at(quick: Run, tmp_path: Path) -> None:
    made = quick(
        *("export", "audit", "--since", "7d", "--where", "kind!=nothing", "--format", "parquet"),
        *("--column", "id", "--column", "action", "-o", str(tmp_path / "out"), "--json"),
    )
    assert made.code == 0, made.err
    export = json.loads(made.out)
    assert (export["status"], export["rows"] > 0) == ("completed", True)
    import pyarrow.parquet as pq

    file = tmp_path / "out" / export["files"][0]["name"]
    assert pq.read_table(file).num_rows == export["rows"]
    assert (tmp_path / "out" / f"{export['id']}.manifest.json").is_file()
    # what is half there is gone on with
    file.rename(file.with_name(f".{file.name}.part"))
    file.with_name(f".{file.name}.part").write_bytes(file.with_name(f".{file.name}.part").read_bytes()[:100])
    assert quick("export", "download", export["id"], "-o", str(tmp_path / "out"), "-q").code == 0
    assert pq.read_table(file).num_rows == export["rows"]
    assert export["id"] in quick("export", "list").out
    assert "completed" in quick("export", "status", export["id"]).out
    assert quick("export", "nothing").code == 1
    assert quick("export", "logs", "--where", "nonsense").code == 2

    policy = tmp_path / "policy.json"
    policy.write_text('{"days": 30}')
    assert quick("retention", "put", "logs", "--file", str(policy)).code == 0
    assert "30 days" in quick("retention", "categories").out
    assert json.loads(quick("retention", "preview", "logs", "--json").out)["rows"] == 0
    assert quick("retention", "purge", "logs", "--reason", "tidy").code == 0
    assert "logs" in quick("retention", "purges").out
    hold = tmp_path / "hold.json"
    hold.write_text('{"category": "logs", "reason": "case 1"}')
    assert quick("legal-hold", "put", "case-1", "--file", str(hold)).code == 0
    assert "case 1" in quick("legal-hold", "ls").out
