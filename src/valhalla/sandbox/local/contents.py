"""What a fresh box contains: a built-in template, SQL, files, or an earlier snapshot."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from valhalla.sandbox.errors import TemplateFailed, TemplateUnknown

Contents = str | Path | Sequence[str | Path]
"""A built-in template's name; a path (``.sql`` file, folder of them, or SQLite file); or a list of SQL and paths."""

Seed = str | Path | Sequence[str | Path] | Callable[[sqlite3.Connection], object]
"""What comes on top of the template: SQL, paths, or a function that is called with a connection."""

BUILT_IN: Final = ("community", "empty")
_MAGIC: Final = b"SQLite format 3\0"


def pristine(template: Contents, seed: Seed | None = None) -> sqlite3.Connection:
    """Build the contents in memory, with foreign keys enforced; the connection is the only way to them.

    Raises:
        TemplateUnknown: no built-in template has this name, or the path does not exist.
        TemplateFailed: a file or statement failed; names it.
    """
    # it may be reset from a thread other than the one that made it; the box takes turns
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        _fill(connection, _sources(template), fresh=True)
        if callable(seed):
            seed(connection)
        elif seed is not None:
            _fill(connection, _plain(seed), fresh=False)
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _sources(template: Contents) -> Iterator[tuple[str, str | Path]]:
    if isinstance(template, str):
        if template not in BUILT_IN:
            raise TemplateUnknown(f"no template is called '{template}'", known=sorted(BUILT_IN))
        if template == "community":
            yield "community", (Path(__file__).parent / "community.sql").read_text()
        return
    yield from _plain(template)


def _plain(given: str | Path | Sequence[str | Path]) -> Iterator[tuple[str, str | Path]]:
    """Pair every script, or path to a database, with the name by which an error calls it."""
    for number, item in enumerate([given] if isinstance(given, (str, os.PathLike)) else given, 1):
        if isinstance(item, str):
            yield f"statement {number}", item
            continue
        path = Path(item)
        if not path.exists():
            raise TemplateUnknown(f"{path} does not exist", known=sorted(BUILT_IN))
        files = sorted(path.glob("*.sql")) if path.is_dir() else [path]
        if not files:
            raise TemplateFailed(f"{path} has no .sql files", file=str(path))
        for file in files:
            yield file.name, file if _is_database(file) else _text(file)


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise TemplateFailed(f"{path.name}: {error}", file=path.name) from error


def _fill(connection: sqlite3.Connection, sources: Iterator[tuple[str, str | Path]], *, fresh: bool) -> None:
    for name, source in sources:
        try:
            if isinstance(source, str):
                connection.executescript(source)
            elif not fresh:
                # a copy of a database replaces everything, also what came before it
                raise TemplateFailed(f"{name}: a SQLite file must come first", file=name)
            else:
                _copy(source, connection)
        except sqlite3.Error as error:
            raise TemplateFailed(f"{name}: {error}", file=name) from error
        fresh = False


def _copy(path: Path, target: sqlite3.Connection) -> None:
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        source.backup(target)
    finally:
        source.close()
