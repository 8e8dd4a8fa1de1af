"""The examples print what they should: users read them before they read anything else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from valhalla.kit import log

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTED = Path(__file__).parent / "printed"


@pytest.mark.parametrize("name", sorted(file.stem for file in (EXAMPLES / "blocks").glob("*.py")))
def test_a_block(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log.configure(file=tmp_path / "log")
    try:
        _main(EXAMPLES / "blocks" / f"{name}.py")
    finally:
        log.configure()
    assert capsys.readouterr().out == (PRINTED / f"{name}.txt").read_text()


def test_there_is_one_for_each_block() -> None:
    assert len(list((EXAMPLES / "blocks").glob("*.py"))) == 10
    assert {file.stem for file in PRINTED.glob("*.txt")} == {
        "shop", "attack_drill", *(file.stem for file in (EXAMPLES / "blocks").glob("*.py"))
    }  # fmt: skip


@pytest.mark.slow
def test_the_shop_on_a_control_plane_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "shop.py"], check=False, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (PRINTED / "shop.txt").read_text()


@pytest.mark.slow
def test_an_attacker_is_shut_out_of_a_control_plane_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "attack_drill.py"], check=False, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (PRINTED / "attack_drill.txt").read_text()


def _main(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main()
