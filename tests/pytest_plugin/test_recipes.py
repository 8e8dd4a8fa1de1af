"""The recipes of the documentation are the files of ``examples/testing``, and those pass."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.pytest_plugin.project import environment, run

from valhalla import Client

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "testing"


@pytest.mark.parametrize(
    ("recipe", "words", "passed"),
    [
        pytest.param("psycopg", [], 3, marks=pytest.mark.slow),
        ("sqlalchemy", [], 4),
        ("django", ["-p", "pytest_django.plugin"], 5),
        pytest.param("asyncio", ["-p", "pytest_asyncio.plugin"], 4, marks=pytest.mark.slow),
    ],
)
def test_it_passes(recipe: str, words: list[str], passed: int, tmp_path: Path, plane: Path, admin: Client) -> None:
    folder = tmp_path / recipe
    shutil.copytree(EXAMPLES / recipe, folder, ignore=shutil.ignore_patterns("__pycache__"))

    code, out = run(folder, environment(plane), "--rootdir", str(folder), *words)

    assert (code, f"{passed} passed" in out) == (0, True), out
    assert list(admin.iterate(tag="pytest")) == []


def test_the_documentation_shows_these_files() -> None:
    text = (ROOT / "docs" / "testing.md").read_text()
    shown = re.findall(r"`(examples/testing/[\w/.]+)`:?\n\n```(?:python|ini)\n(.*?)```", text, re.DOTALL)

    assert {Path(path).parts[2] for path, _ in shown} == {"psycopg", "sqlalchemy", "django", "asyncio"}
    for path, block in shown:
        assert block.strip() in (ROOT / path).read_text(), path
