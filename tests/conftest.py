"""The embedded servers, once per test process: the same ones that users get."""

from __future__ import annotations

import gc
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as property_tests
from tests import workers
from xdist.remote import Producer
from xdist.scheduler import Scheduling

from valhalla.embedded import Endpoints, Stack
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey

# who starts the tests in the background leaves SIGINT ignored, and every child would inherit that Ctrl-C does nothing
signal.signal(signal.SIGINT, signal.default_int_handler)
# and nohup leaves SIGHUP ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# nothing of what is loaded to list the tests is ever thrown away
gc.disable()

# how long an example takes says more of the machine than of the code
property_tests.register_profile("valhalla", deadline=None, suppress_health_check=[HealthCheck.too_slow])
property_tests.load_profile("valhalla")


def pytest_configure(config: pytest.Config) -> None:
    """Share the listing of the tests."""
    workers.list_from_elsewhere(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long."""
    workers.order(items)


def pytest_collection_finish() -> None:
    """Look for garbage from now on, and never in what is loaded."""
    gc.freeze()
    gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Keep the tests of a file together."""
    return workers.ByFile(config, log)


@dataclass
class Servers:
    """Running Postgres, Valkey and NATS with the key of the cell that they belong to."""

    data_dir: Path
    cell: CellKey
    stack: Stack
    endpoints: Endpoints

    @property
    def superuser_url(self) -> str:
        url = self.endpoints.postgres_superuser_url
        assert url is not None
        return url


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Start the embedded servers for this test process and remove them afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="vh-test-"))
    folder.chmod(0o711)
    cell = CellKey.load_or_create(folder / "cell.key")
    stack = Stack(folder, cell, nats_operator=natsauth.trust(cell))
    try:
        yield Servers(folder, cell, stack, stack.start())
    finally:
        stack.stop()
        shutil.rmtree(folder)
