"""The shared control plane: how a start that fails is told, and who may own its folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from tests.sdk.real import open_folder

from valhalla.sdk.hosting import Home, StartFailed, join, leave


def test_a_start_that_fails_tells_why_and_leaves_nothing() -> None:
    with open_folder() as folder:
        home = Home.of(folder / ".valhalla")
        with pytest.raises(StartFailed, match="NO_SUCH_THING"):
            join(home, settings={"no_such_thing": "1"})
        leave(home)

        assert not home.in_use()
        assert not (home.data / "control.json").exists()


def test_a_folder_that_others_could_write_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "file"
    project.touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fallback = Home.of(project).data.parent
    assert fallback.parent == tmp_path

    fallback.chmod(0o777)
    with pytest.raises(PermissionError, match="not this user's alone"):
        Home.of(project)


def test_a_killed_user_is_forgotten_and_a_kept_sandbox_is_not(tmp_path: Path) -> None:
    home = Home(tmp_path / "h")._made()
    home.enter(2**22 - 1, 1)
    assert not home.in_use()

    home.keep(until=4_000_000_000)
    assert home.in_use()
