"""Finding a template by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from valhalla.sandbox.errors import TemplateUnknown
from valhalla.sandbox.slices.contracts import DEFAULT_SLICES, Isolation
from valhalla.sandbox.templates import manifest
from valhalla.sandbox.templates.kinds import BuiltIn, Snapshot, Template
from valhalla.sandbox.templates.snapshots import Snapshots

SQLITE: Final = "sqlite"
"""The folder inside a user's own template that holds the SQL for a SQLite slice."""


@dataclass(frozen=True, slots=True)
class Filling:
    """What the slices of one sandbox contain at first; None where it has no such slice.

    ``sqlite`` is the name of a built-in template, or a folder of ``.sql`` files.
    """

    postgres: Template | None
    sqlite: str | Path | None = None

    @property
    def isolation(self) -> Isolation:
        """What the template asks for."""
        return "schema" if self.postgres is None else self.postgres.isolation


class Templates:
    """The templates of one control plane: built-in ones, the folders below ``directory``, and ``snapshots``."""

    def __init__(self, directory: Path | None = None, snapshots: Snapshots | None = None) -> None:
        self._directory = directory
        self.snapshots = snapshots

    def names(self) -> list[str]:
        """Return every template's name, sorted."""
        taken = () if self.snapshots is None else self.snapshots.names()
        return sorted({*self.fixed(), *taken})

    def fixed(self) -> set[str]:
        """Return the names of the built-in ones and the operator's own, which no snapshot may take."""
        own: list[str] = []
        if self._directory is not None and self._directory.is_dir():
            own = [entry.name for entry in self._directory.iterdir() if entry.is_dir()]
        return {*_built_in(), *own}

    def at_once(self, name: str, slices: Sequence[str]) -> Filling | None:
        """Return what a plain sandbox of a built-in template gets, if no file could say otherwise; reads none."""
        if slices != DEFAULT_SLICES or (self._directory is not None and self._directory.is_dir()):
            return None
        return Filling(BuiltIn(name, _built_in()[name])) if name in _built_in() else None

    def filling(self, name: str, slices: Sequence[str]) -> Filling:
        """Return what a sandbox with these slices gets from a template.

        Raises:
            TemplateUnknown: there is none of this name, or it has nothing for SQLite and that is asked for.
            Misconfigured: its folder cannot be read as a template.
        """
        if "postgres" not in slices and name not in self.names():
            raise self._unknown(name)
        postgres = self.get(name) if "postgres" in slices else None
        return Filling(postgres, self.sqlite(name) if SQLITE in slices else None)

    def get(self, name: str) -> Template:
        """Return a template of Postgres; a user's own hides a built-in one of the same name.

        Raises:
            TemplateUnknown: there is none of this name.
            Misconfigured: its folder cannot be read as a template.
        """
        folder = self._folder(name)
        if folder is not None:
            return manifest.read(name, folder)
        if name in _built_in():
            return BuiltIn(name, _built_in()[name])
        found = self._snapshot(name)
        if found is None:
            raise self._unknown(name)
        return found

    def sqlite(self, name: str) -> str | Path:
        """Return what a template gives a SQLite slice: a built-in template's name, or a folder of ``.sql`` files.

        Raises:
            TemplateUnknown: there is no such template, or it has no such folder.
        """
        folder = self._folder(name)
        if folder is None and name in _built_in():
            return name
        if folder is not None and (folder / SQLITE).is_dir():
            return folder / SQLITE
        if folder is None and self._snapshot(name) is None:
            raise self._unknown(name)
        raise TemplateUnknown(
            f"template '{name}' has nothing for a SQLite slice",
            known=self.names(),
            help="Put .sql files in SQLite's words into the folder 'sqlite' of the template, or use another template.",
        )

    def _folder(self, name: str) -> Path | None:
        folder = None if self._directory is None else self._directory / name
        return folder if folder is not None and folder.is_dir() else None

    def _snapshot(self, name: str) -> Snapshot | None:
        return None if self.snapshots is None else self.snapshots.find(name)

    def _unknown(self, name: str) -> TemplateUnknown:
        return TemplateUnknown(f"no template is called '{name}'", known=self.names())


@cache
def _built_in() -> Mapping[str, str]:
    return {"empty": "", "community": (Path(__file__).parent / "community.sql").read_text()}
