"""How the tests are shared among the processes that run them: where each begins to list them, what stays together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

_TESTS = Path(__file__).parent
# one process runs all of such a folder: what its tests share takes longer to start than they take to run
_TOGETHER = (
    "tests/pytest_plugin/",
    "tests/sdk/",
    "tests/server/console/",
    "tests/isolation/nats_attacks/",
    "tests/features/data_exports/",
    "tests/features/data_retention/",
)
# what the kernel refuses are numbers of sockets that were open: here nobody opens and closes others meanwhile, as the
# control planes of other tests do, which stay until their process ends
_BEFORE = ("tests/guard/egress/",)
# these take longest; whoever began one of them last would end alone
_FIRST = (
    "tests/pytest_plugin/",
    "tests/sdk/",
    "tests/server/console/",
    "tests/sandbox/test_backend_down.py",
    "tests/sandbox/test_races.py",
    "tests/cli/test_real_plane.py",
    "tests/server/test_external.py",
)


class ByFile(LoadFileScheduling):
    """The tests of a file run in one process, so that what they share is made once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((folder for folder in _TOGETHER if file.startswith(folder)), file)


def list_from_elsewhere(config: pytest.Config) -> None:
    """Let each worker begin in another folder to list the tests.

    All of them list them all, and the assertions of a file are rewritten by the one that comes first: together they
    do it in the time that one would take for its part.
    """
    worker, count = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS or count == 1:
        return
    of_files = [path.relative_to(_TESTS).parts[0] for path in sorted(_TESTS.rglob("test_*.py"))]
    folders = sorted(set(of_files))
    first = folders.index(of_files[len(of_files) * int(worker.removeprefix("gw")) // count])
    config.args[:] = [str(_TESTS / folder) for folder in (*folders[first:], *folders[:first])]


def order(items: list[pytest.Item]) -> None:
    """Put the tests in the order in which they begin, which is the same wherever their listing began."""
    items.sort(
        key=lambda item: (not item.nodeid.startswith(_BEFORE), not item.nodeid.startswith(_FIRST), str(item.path))
    )
