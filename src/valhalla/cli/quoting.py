"""Environment variables as text that a shell, or a .env reader, takes back exactly as they were."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Final

from valhalla.cli.failures import Refusal

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def exports(env: Mapping[str, str]) -> str:
    """Return ``export K='V'`` lines for sh, bash and zsh."""
    return _lines(env, lambda name, value: f"export {name}={_sh(value)}")


def fish(env: Mapping[str, str]) -> str:
    """Return ``set -gx K 'V'`` lines for fish, where a backslash escapes inside single quotes."""
    return _lines(env, lambda name, value: f"set -gx {name} {_escaped(value)}")


def dotenv(env: Mapping[str, str]) -> str:
    """Return ``K='V'`` lines for .env files."""
    return _lines(env, lambda name, value: f"{name}={_escaped(value)}")


def _sh(value: str) -> str:
    # always quoted, also where shlex would not need to: the eye looks for a pattern
    quoted = shlex.quote(value)
    return quoted if quoted.startswith(("'", '"')) else f"'{quoted}'"


def _escaped(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _lines(env: Mapping[str, str], write: Callable[[str, str], str]) -> str:
    """Write every variable, or nothing at all.

    Raises:
        Refusal: a name would be code, or a value cannot be an environment variable.
    """
    for name, value in env.items():
        if _NAME.fullmatch(name) is None:
            raise Refusal("unsafe-variable", f"{name!r} is no name for an environment variable")
        if "\0" in value:
            raise Refusal("unsafe-variable", f"the value of {name} holds a NUL character")
    return "".join(write(name, value) + "\n" for name, value in env.items())
