"""The CEL engine comes without the shell of its package, and takes nothing from who wants that shell."""

from __future__ import annotations

import subprocess
import sys


def test_conditions_load_no_terminal() -> None:
    lines = (
        "import sys, valhalla.features.security.policies.engine;"
        "assert not {'cel.cli', 'prompt_toolkit', 'rich', 'typer'} & sys.modules.keys();"
        "import cel.cli; print(cel.cli.__file__)"
    )
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("cli.py")
