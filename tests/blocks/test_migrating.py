"""What docs/migrating-from-batch-1.md shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "migrating-from-batch-1.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_code_block(number: int) -> None:
    exec(compile(BLOCKS[number], f"block {number}", "exec"), {})


def test_there_are_some_and_the_wrong_one_is_not_run() -> None:
    assert len(BLOCKS) == 2
    assert "WRONG" not in "".join(BLOCKS)
