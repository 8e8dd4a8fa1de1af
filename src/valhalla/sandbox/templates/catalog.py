"""Finding a template by its name."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from valhalla.kernel.problems import Misconfigured
from valhalla.sandbox.errors import TemplateUnknown

_DEFAULT_TIMEOUT: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """SQL that ships with the product; trusted, so it runs in the transaction that makes the schema."""

    name: str
    sql: str

    @property
    def version(self) -> str:
        """What the contents are, in short: a slot made from other contents is not handed out."""
        return _digest(self.sql.encode())


@dataclass(frozen=True, slots=True)
class Scripts:
    """A folder of ``.sql`` files; ``timeout`` bounds all of them together."""

    name: str
    files: tuple[Path, ...]
    timeout: timedelta = _DEFAULT_TIMEOUT

    @property
    def version(self) -> str:
        """What the files hold now, in short; reads them."""
        return _digest(*(part for path in self.files for part in (path.name.encode(), path.read_bytes())))


@dataclass(frozen=True, slots=True)
class Command:
    """A program that fills the schema, started without a shell in ``cwd`` with the sandbox's environment."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    timeout: timedelta


Template = BuiltIn | Scripts | Command


class Templates:
    """The templates of one control plane: the built-in ones and the folders below ``directory``."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory

    def names(self) -> list[str]:
        """Return every template's name, sorted."""
        own: list[str] = []
        if self._directory is not None and self._directory.is_dir():
            own = [entry.name for entry in self._directory.iterdir() if entry.is_dir()]
        return sorted({*_built_in(), *own})

    def built_in(self, name: str) -> BuiltIn | None:
        """Return a built-in template if no templates directory could hide it; reads no file."""
        if self._directory is not None and self._directory.is_dir():
            return None
        return BuiltIn(name, _built_in()[name]) if name in _built_in() else None

    def get(self, name: str) -> Template:
        """Return a template; a user's own hides a built-in one of the same name.

        Raises:
            TemplateUnknown: there is none of this name.
            Misconfigured: its folder cannot be read as a template.
        """
        folder = None if self._directory is None else self._directory / name
        if folder is not None and folder.is_dir():
            return _load(name, folder)
        if name in _built_in():
            return BuiltIn(name, _built_in()[name])
        raise TemplateUnknown(f"no template is called '{name}'", known=self.names())


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


@cache
def _built_in() -> Mapping[str, str]:
    return {"empty": "", "community": (Path(__file__).parent / "community.sql").read_text()}


def _load(name: str, folder: Path) -> Template:
    manifest = folder / "template.toml"
    if manifest.is_file():
        return _command(name, folder, manifest)
    files = tuple(sorted(path for path in folder.iterdir() if path.suffix == ".sql" and path.is_file()))
    if not files:
        raise Misconfigured(
            f"template '{name}' has neither .sql files nor a template.toml",
            setting="templates_dir",
            template=name,
        )
    return Scripts(name, files)


def _command(name: str, folder: Path, manifest: Path) -> Command:
    try:
        document: dict[str, Any] = tomllib.loads(manifest.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{manifest}: {error}", setting="templates_dir", template=name) from error
    argv: Any = document.pop("command", None)
    timeout: Any = document.pop("timeout_seconds", _DEFAULT_TIMEOUT.total_seconds())
    cwd: Any = document.pop("cwd", ".")
    words = _words(argv)
    if not words:
        raise Misconfigured(f'{manifest}: "command" must be a list of words', setting="templates_dir", template=name)
    if not isinstance(timeout, (int, float)) or not 0 < timeout <= 3600 or not isinstance(cwd, str) or document:
        raise Misconfigured(
            f'{manifest}: the keys are "command", "cwd" and "timeout_seconds" (at most 3600)',
            setting="templates_dir",
            template=name,
        )
    return Command(name, words, (folder / cwd).resolve(), timedelta(seconds=timeout))


def _words(value: Any) -> tuple[str, ...]:
    """Return a list of strings as a tuple; nothing for anything else."""
    if not isinstance(value, list):
        return ()
    items = cast("list[Any]", value)
    return tuple(items) if all(isinstance(item, str) for item in items) else ()
