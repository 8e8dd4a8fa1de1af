"""Reading a user's own template: its folder, and the ``template.toml`` in it."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any, cast, get_args

from valhalla.kernel.problems import Misconfigured
from valhalla.sandbox.slices.contracts import Isolation
from valhalla.sandbox.templates.kinds import DEFAULT_TIMEOUT, Command, Scripts


def read(name: str, folder: Path) -> Scripts | Command:
    """Return the template that a folder holds.

    Raises:
        Misconfigured: it has neither ``.sql`` files nor a ``template.toml``, or that one is wrong.
    """
    files = tuple(sorted(path for path in folder.iterdir() if path.suffix == ".sql" and path.is_file()))
    manifest = folder / "template.toml"
    if not manifest.is_file():
        if files:
            return Scripts(name, files)
        raise _wrong(name, f"template '{name}' has neither .sql files nor a template.toml")
    try:
        document: dict[str, Any] = tomllib.loads(manifest.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _wrong(name, f"{manifest}: {error}") from error
    argv: Any = document.pop("command", None)
    timeout: Any = document.pop("timeout_seconds", DEFAULT_TIMEOUT.total_seconds())
    isolation: Any = document.pop("isolation", "schema")
    cwd: Any = document.pop("cwd", ".")
    words = _words(argv)
    if argv is not None and not words:
        raise _wrong(name, f'{manifest}: "command" must be a list of words')
    if isolation not in get_args(Isolation):
        raise _wrong(name, f'{manifest}: "isolation" is "schema" or "database"')
    if not isinstance(timeout, (int, float)) or not 0 < timeout <= 3600 or not isinstance(cwd, str) or document:
        keys = '"command", "cwd", "isolation" and "timeout_seconds" (at most 3600)'
        raise _wrong(name, f"{manifest}: the keys are {keys}")
    if words:
        return Command(name, words, (folder / cwd).resolve(), timedelta(seconds=timeout), isolation)
    return Scripts(name, files, timedelta(seconds=timeout), isolation)


def _wrong(name: str, detail: str) -> Misconfigured:
    return Misconfigured(detail, setting="templates_dir", template=name)


def _words(value: Any) -> tuple[str, ...]:
    """Return a list of strings as a tuple; nothing for anything else."""
    if not isinstance(value, list):
        return ()
    items = cast("list[Any]", value)
    return tuple(items) if all(isinstance(item, str) for item in items) else ()
