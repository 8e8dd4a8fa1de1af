"""The tutorial, as a reader follows it: every command in one shell, and what the page says it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MARK = "==next=="


@dataclass
class Step:
    """One command and the lines that are shown below it."""

    command: str
    shown: list[str] = field(default_factory=list)


def steps_of(page: str) -> list[Step]:
    """Return the commands of a page; ``> `` continues one."""
    steps: list[Step] = []
    for block in _BLOCK.findall(page):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append(Step(line[2:]))
            elif line.startswith(">"):
                steps[-1].command += "\n" + line[2:]
            else:
                steps[-1].shown.append(line)
    return steps


def pattern_of(line: str) -> re.Pattern[str]:
    """Return what a shown line stands for: ``…`` is anything."""
    parts = [re.escape(" ".join(part.split())) for part in line.split("…")]
    return re.compile(".*".join(parts))


def missing(shown: list[str], printed: list[str]) -> list[str]:
    """Return the shown lines that were not printed, in their order."""
    lines = iter([" ".join(line.split()) for line in printed])
    return [
        line for line in shown if line.strip() != "…" and not any(pattern_of(line).fullmatch(each) for each in lines)
    ]


def test_what_was_not_printed_is_missed() -> None:
    assert missing(["a … c", "…", "d"], ["x", "a  b c", "y", "d"]) == []
    assert missing(["d", "a"], ["a", "d"]) == ["a"]
    assert [step.command for step in steps_of("```console\n$ a <<E\n> b\n> E\nc\n$ d\n```\n")] == ["a <<E\nb\nE", "d"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_command_of_the_tutorial_does_what_the_page_says(tmp_path: Path) -> None:
    steps = steps_of(PAGE.read_text())
    assert len(steps) > 15
    script = "".join(f"{step.command}\necho {_MARK}$?\n" for step in steps)
    folder = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VALHALLA_")}
    environment |= {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "XDG_STATE_HOME": str(tmp_path / "state")}
    (tmp_path / "shop").mkdir()
    (tmp_path / "tour.sh").write_text(script)
    try:
        ran = subprocess.run(
            ["bash", tmp_path / "tour.sh"],
            cwd=tmp_path / "shop",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
    finally:
        subprocess.run(
            [folder / "valhalla", "down"], cwd=tmp_path / "shop", env=environment, capture_output=True, check=False
        )
    printed = re.split(rf"{_MARK}(\d+)\n", ran.stdout)
    assert len(printed) == 2 * len(steps) + 1, ran.stderr
    for at, step in enumerate(steps):
        output, status = printed[2 * at], printed[2 * at + 1]
        assert status == "0", (step.command, output, ran.stderr)
        assert missing(step.shown, output.splitlines()) == [], (step.command, output)
