"""Flags and configuration on the command line: what they have beside the commands of every registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.calling import Result
from tests.cli.fake_plane import FakePlane

Valhalla = Callable[..., Result]


def test_a_flag_is_killed_and_revived(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    assert valhalla("flag", "kill", "risky", "--variant", "off", "--reason", "x").out == "risky: killed\n"
    assert valhalla("flag", "revive", "risky").out == "risky: alive\n"
    assert json.loads(valhalla("flag", "revive", "risky", "--json").out)["killed"] is False


def test_a_flag_is_evaluated_for_a_context(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    assert valhalla("flag", "eval", "f", "plan=pro").out == "True  variant=on reason=TARGETING_MATCH\n"
    assert json.loads(valhalla("flag", "eval", "f", "--json").out)["value"] is False
    missing = valhalla("flag", "eval", "none")
    assert missing.code != 0
    assert "FLAG_NOT_FOUND" in missing.err


def test_stale_flags(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    assert "it expired at 2020-01-01" in valhalla("flag", "stale").out


@pytest.mark.parametrize("form", ["json", "toml", "yaml"])
def test_configuration_goes_out_and_in(
    plane: FakePlane, data_dir: Path, valhalla: Valhalla, tmp_path: Path, form: str
) -> None:
    out = valhalla("config", "export", "--format", form)
    assert out.code == 0, out.err
    path = tmp_path / f"config.{form}"
    path.write_text(out.out)
    done = valhalla("config", "import", str(path), "--dry-run")
    assert done.code == 0, done.err
    assert "Nothing was changed" in done.err
    path.write_text("[")
    assert valhalla("config", "import", str(path)).code != 0
