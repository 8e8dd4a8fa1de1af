"""Values come back from every reader exactly as they went in."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import dotenv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.cli import quoting
from valhalla.cli.failures import Refusal

HOSTILE = {
    "APOSTROPHE": "it's",
    "QUOTES": '"\'"\'"',
    "SUBSTITUTION": "$(touch hit) `touch hit` ${HOME} $HOME",
    "NEWLINES": "a\nb\n\n",
    "CARRIAGE": "a\r\nb\r",
    "BACKSLASH": "\\ \\\\ \\n \\'",
    "SEPARATORS": "; & | > < * ? [a] {b,c} ~ # ! % ^",
    "UNICODE": "žluťoučký 🦦 \u202e \u2028",
    "EMPTY": "",
    "BLANKS": "  two  \t tab ",
    "DASH": "-n",
    "CONTROL": "\x01\x1b[31m\x7f",
}
PRINT = "import os, sys, json; json.dump({k: os.environ[k] for k in sys.argv[1:]}, sys.stdout)"


def read_back(shell: str, text: str, names: list[str]) -> dict[str, str]:
    """Evaluate ``text`` as users do, and return what a program then finds in its environment."""
    script = 'eval "$(cat)"; exec "$PYTHON" -c "$PRINT" "$@"'
    env = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "PRINT": PRINT, "PYTHONUTF8": "1"}
    done = subprocess.run(
        [shell, "-c", script, shell, *names], input=text.encode(), env=env, capture_output=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_hostile_values_survive_eval(shell: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert read_back(shell, quoting.exports(HOSTILE), list(HOSTILE)) == HOSTILE


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=20))
def test_any_values_survive_eval(values: list[str]) -> None:
    env = {f"V{number}": value for number, value in enumerate(values)}

    assert env == read_back("sh", quoting.exports(env), list(env))


@given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])))
def test_any_value_survives_a_dotenv_file(value: str) -> None:
    read = dotenv.dotenv_values(stream=io.StringIO(quoting.dotenv({"K": value}), newline=""), interpolate=False)

    assert {"K": value} == read


def test_fish_escapes_backslash_and_apostrophe() -> None:
    assert quoting.fish({"K": "a'b\\c$(d)"}) == "set -gx K 'a\\'b\\\\c$(d)'\n"


@pytest.mark.parametrize("name", ["", "A B", "A;touch hit", "1A", "A=B", "A\n", "Ä", "$(x)"])
def test_a_name_that_would_be_code_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="no name"):
        quoting.exports({"GOOD": "x", name: "y"})


def test_nul_is_refused() -> None:
    with pytest.raises(Refusal, match="NUL"):
        quoting.exports({"K": "a\0b"})
