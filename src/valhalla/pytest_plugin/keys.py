"""Where the plugin keeps what it knows: in pytest's stashes, for several sessions may live in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from valhalla.pytest_plugin.run import Run
    from valhalla.sdk.opened import OpenSandbox

RUN: pytest.StashKey[Run] = pytest.StashKey()
"""On the configuration: this process's run, once a test has asked for a sandbox."""

HOME: pytest.StashKey[str] = pytest.StashKey()
"""On the controller's configuration: the home of the control plane that its workers use."""

OPENED: pytest.StashKey[list[OpenSandbox]] = pytest.StashKey()
"""On a test or the session: the sandboxes that were made for it."""

FAILED: pytest.StashKey[bool] = pytest.StashKey()
"""On a test or the session: that it, or a test that used its sandbox, has failed."""
