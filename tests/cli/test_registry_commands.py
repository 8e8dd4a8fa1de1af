"""The commands that every registry has, by the example of the rate limits."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.calling import Result
from tests.cli.fake_plane import FakePlane

Valhalla = Callable[..., Result]


def test_what_was_read_can_be_put_back(
    plane: FakePlane, data_dir: Path, valhalla: Valhalla, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = valhalla("limit", "get", "per-key", "--json")
    monkeypatch.setattr("sys.stdin", io.StringIO(read.out))

    assert valhalla("limit", "put", "per-key", "--expect", "4", "--reason", "same").code == 0
    method, path, query, body, headers = plane.seen[-1]
    assert (method, path, query) == ("PUT", "/system/rate-limits/per-key", {"reason": "same"})
    assert body == {"rate": "9/min", "scope": "key", "costs": {"/x": 2}, "enabled": True}
    assert headers["If-Match"] == '"4"'


def test_values_are_json_or_text(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    valhalla("limit", "set", "per-key", "shadow=true", "rate=5/min", 'subjects=["a"]', "burst=null")

    assert plane.seen[-1][3] == {"shadow": True, "rate": "5/min", "subjects": ["a"], "burst": None}
    assert valhalla("limit", "set", "per-key", "shadow").code == 2
    assert valhalla("limit", "set", "per-key").code == 2


def test_a_dry_run_says_so(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    result = valhalla("limit", "set", "per-key", "rate=9/min", "-n")

    assert plane.seen[-1][2] == {"dry_run": "true"}
    assert "Nothing was changed" in result.err
    assert "rate: 8/min -> 9/min" in result.out


def test_filters_and_search(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    assert valhalla("limit", "ls", "-q", "--search", "per", "--where", "enabled=false").out == "per-key\n"
    assert plane.seen[-1][2] == {"limit": "100", "q": "per", "enabled": "false"}


@pytest.mark.parametrize("text", ["", "[]", "{", "1"])
def test_a_document_that_is_none(
    plane: FakePlane, data_dir: Path, valhalla: Valhalla, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    assert valhalla("limit", "put", "per-key").code == 2
    assert not plane.seen
