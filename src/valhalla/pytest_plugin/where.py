"""Which control plane a run uses: the one that was named, one that runs, or one of its own for the tests."""

from __future__ import annotations

import json
import os
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from valhalla.pytest_plugin.marks import Mark
from valhalla.sdk.client import Client
from valhalla.sdk.discovery import DEFAULT_DATA_DIR, data_directory, read_control
from valhalla.sdk.hosting import Home, join

_SETTINGS: Final[Mapping[str, str]] = {
    # a run makes as many as it has tests under way, whoever owns them
    "max_sandboxes_per_owner": "100000",
    # made ahead while tests run; what is left of it serves the next run
    "pool_size": "20",
    # Python's drivers take it, and every test connects: 2 ms instead of 4
    "scram_iterations": "1",
    "access_log": "false",
    "log_level": "warning",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A control plane: ``home`` when it was started for tests, ``options`` are the command line's for it."""

    client: Client
    options: tuple[str, ...] = ()
    home: Home | None = None

    def command(self, *words: str) -> str:
        """Return a command line to copy."""
        return shlex.join(["valhalla", *self.options, *words])


def find(config: pytest.Config) -> Place:
    """Return the control plane to use; start one when none runs.

    Raises:
        ValhallaError: the one that was named does not answer, or none can be started.
    """
    if url := config.getoption("--valhalla-url") or os.environ.get("VALHALLA_URL"):
        return Place(Client(url), ("--url", url))
    for data_dir in dict.fromkeys([data_directory(), _project(config)]):
        control = read_control(data_dir)
        if control is not None and control.is_running:
            key = os.environ.get("VALHALLA_API_KEY") or control.admin_key()
            return Place(Client(control.url, key), ("--data-dir", str(data_dir)))
    home = Home.of(_project(config))
    control = join(home, *_controller(config), settings={**_SETTINGS, **_pooled(config), **_templates(config)})
    # VALHALLA_API_KEY is meant for another control plane
    return Place(Client(control.url, control.admin_key()), ("--data-dir", str(home.data)), home)


def _project(config: pytest.Config) -> Path:
    named = os.environ.get("VALHALLA_DATA_DIR")
    return data_directory(Path(named) if named else config.rootpath / DEFAULT_DATA_DIR)


def _controller(config: pytest.Config) -> list[tuple[int, int | None]]:
    """Return the process that started this worker, when it is one of this machine."""
    given: dict[str, Any] = getattr(config, "workerinput", {})
    mark = Mark.read(given.get("valhalla_controller"))
    return [(mark.pid, mark.started)] if mark is not None and mark.is_here else []


def _templates(config: pytest.Config) -> dict[str, str]:
    """Return the setting that lets the tests' control plane find the project's templates."""
    named = config.getini("valhalla_templates_dir") or os.environ.get("VALHALLA_TEMPLATES_DIR") or _configured(config)
    folder = config.rootpath / named if named else _project(config) / "templates"
    return {"templates_dir": str(folder)} if named or folder.is_dir() else {}


def _pooled(config: pytest.Config) -> dict[str, str]:
    """Return the setting that lets the control plane make the run's template ahead."""
    template = config.getini("valhalla_template")
    return {"pool_templates": json.dumps([template])} if template else {}


def _configured(config: pytest.Config) -> str | None:
    try:
        settings = tomllib.loads((config.rootpath / "valhalla.toml").read_text())
    except (OSError, ValueError):
        return None
    named = settings.get("templates_dir")
    return named if isinstance(named, str) else None
