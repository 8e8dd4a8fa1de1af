"""The fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, Unpack

import pytest

from valhalla.pytest_plugin.keys import RUN

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from valhalla.pytest_plugin.run import Run
    from valhalla.sdk.client import Client
    from valhalla.sdk.creating import CreateArgs
    from valhalla.sdk.opened import OpenSandbox


class SandboxFactory(Protocol):
    """Makes sandboxes, as many as wanted."""

    def __call__(self, name: str | None = None, **args: Unpack[CreateArgs]) -> OpenSandbox:
        """Make one; what is not said, the marker and the configuration decide."""
        ...


class SessionPlayer(Protocol):
    """Plays recorded sessions."""

    def __call__(self, sandbox: OpenSandbox, session: str | Path | Iterable[str], *, speed: float = 0.0) -> int:
        """Play a file, or its lines, and return how many events; as fast as can be unless ``speed`` says otherwise."""
        ...


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Iterator[OpenSandbox]:
    """A sandbox for this test alone, destroyed after it."""
    with _run(request.config).lend(request.node, **_marked(request.node)) as opened:
        yield opened


@pytest.fixture(scope="session")
def sandbox_session(request: pytest.FixtureRequest) -> Iterator[OpenSandbox]:
    """One sandbox for the whole run; with xdist, one for each worker."""
    with _run(request.config).lend(request.session) as opened:
        yield opened


@pytest.fixture
def sandbox_factory(request: pytest.FixtureRequest) -> Iterator[SandboxFactory]:
    """A function that makes sandboxes; all of them are destroyed after this test."""
    run = _run(request.config)
    marked = _marked(request.node)
    with ExitStack() as stack:

        def make(name: str | None = None, **args: Unpack[CreateArgs]) -> OpenSandbox:
            named = {} if name is None else {"name": name}
            return stack.enter_context(run.lend(request.node, **{**marked, **named, **args}))

        yield make


@pytest.fixture(scope="session")
def valhalla_client(request: pytest.FixtureRequest) -> Client:
    """A client of the control plane that makes the sandboxes; the run closes it."""
    return _run(request.config).client


@pytest.fixture
def play_session(valhalla_client: Client) -> SessionPlayer:
    """A function that puts recorded live events onto a sandbox's lane."""

    def play(sandbox: OpenSandbox, session: str | Path | Iterable[str], *, speed: float = 0.0) -> int:
        return valhalla_client.lanes.play(sandbox.id, session, speed=speed)

    return play


def _run(config: pytest.Config) -> Run:
    if (run := config.stash.get(RUN, None)) is None:
        from valhalla.pytest_plugin.run import Run

        run = config.stash[RUN] = Run(config)
    return run


def _marked(node: Any) -> dict[str, Any]:
    """Return what the markers say; the one nearest to the test wins."""
    args: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers("sandbox"))):
        if mark.args:
            raise pytest.UsageError("@pytest.mark.sandbox takes keywords: sandbox(template='shop', ttl='10m')")
        args |= mark.kwargs
    return args
