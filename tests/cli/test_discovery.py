"""Which control plane is found, and that nobody else's is believed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.cli.calling import start_ticks, write_control
from tests.cli.fake_plane import KEY, FakePlane

from valhalla.sdk import NotRunning
from valhalla.sdk.discovery import find, process_runs


def test_the_data_directory_of_a_running_plane_is_enough(data_dir: Path, plane: FakePlane) -> None:
    endpoint = find()

    assert (plane.url, KEY) == (endpoint.url, endpoint.api_key)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no control plane is running on") as caught:
        find(data_dir=tmp_path)

    assert not caught.value.stale
    assert "valhalla up" in caught.value.help


def test_a_record_of_a_dead_process_is_stale(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    write_control(tmp_path / "d", "http://127.0.0.1:1", child.pid, 1)

    with pytest.raises(NotRunning, match="has ended") as caught:
        find(data_dir=tmp_path / "d")

    assert caught.value.stale


def test_a_reused_pid_is_told_by_its_start_time(tmp_path: Path) -> None:
    write_control(tmp_path / "d", "http://127.0.0.1:1", os.getpid(), start_ticks(os.getpid()) - 1)

    with pytest.raises(NotRunning, match="has ended"):
        find(data_dir=tmp_path / "d")


def test_without_a_start_time_the_pid_decides(tmp_path: Path) -> None:
    write_control(tmp_path / "d", "http://127.0.0.1:1", os.getpid(), None)

    assert find(data_dir=tmp_path / "d").url == "http://127.0.0.1:1"


def test_a_zombie_does_not_run() -> None:
    child = subprocess.Popen(["true"])
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        pass

    assert not process_runs(child.pid, None)
    child.wait()


def test_a_record_that_others_could_have_planted_is_not_used(data_dir: Path) -> None:
    (data_dir / "control.json").chmod(0o644)

    with pytest.raises(NotRunning, match="open to other users"):
        find()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x", "url": "u"}', "null"])
def test_a_damaged_record_is_none(data_dir: Path, text: str) -> None:
    (data_dir / "control.json").write_text(text)

    with pytest.raises(NotRunning):
        find()


def test_arguments_win_over_the_environment(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALHALLA_URL", "http://env")
    monkeypatch.setenv("VALHALLA_API_KEY", "env-key")

    assert (find("http://arg/", "arg-key").url, find("http://arg/", "arg-key").api_key) == ("http://arg", "arg-key")
    assert (find().url, find().api_key) == ("http://env", "env-key")


def test_a_named_data_directory_wins_over_the_environments_url(
    data_dir: Path, plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALHALLA_URL", "http://production")

    assert plane.url == find(data_dir=data_dir).url


def test_the_admin_key_goes_to_its_own_plane_only(data_dir: Path, plane: FakePlane) -> None:
    assert find("http://elsewhere").api_key is None
    assert find(plane.url).api_key == KEY
    assert KEY not in repr(find())
