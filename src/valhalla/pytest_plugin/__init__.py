"""Sandboxes for tests: the fixtures ``sandbox``, ``sandbox_session``, ``sandbox_factory``, ``play_session`` and
``valhalla_client``.

pytest loads this module in every run of every project that has Valhalla installed, so it imports what pytest has
imported already, and the rest when a test asks for a sandbox.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from valhalla.pytest_plugin.fixtures import play_session, sandbox, sandbox_factory, sandbox_session, valhalla_client
from valhalla.pytest_plugin.keys import FAILED, HOME, OPENED, RUN

if TYPE_CHECKING:
    from valhalla.pytest_plugin.fixtures import SandboxFactory

__all__ = ["SandboxFactory", "play_session", "sandbox", "sandbox_factory", "sandbox_session", "valhalla_client"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what may be said on the command line and in the configuration file."""
    group = parser.getgroup("valhalla", "sandboxes")
    group.addoption(
        "--valhalla-url",
        metavar="URL",
        help="The control plane to use (VALHALLA_URL). Default: the running one, else one of its own for the tests.",
    )
    group.addoption(
        "--keep-sandboxes",
        action="store_true",
        help="Keep the sandboxes of failing tests until their TTL is over.",
    )
    parser.addini("valhalla_template", "The template of the tests' sandboxes.")
    parser.addini("valhalla_ttl", "How long a sandbox lives should its test run be killed (default: 1h).", default="1h")
    parser.addini("valhalla_templates_dir", "Templates for a control plane that is started for the tests.")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "sandbox(template=..., ttl=..., ...): how to make this test's sandboxes.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell in a failing test's report how its sandboxes are opened."""
    report = yield
    del call
    if report.failed and (run := item.config.stash.get(RUN, None)) is not None:
        of_session = "sandbox_session" in item.fixturenames  # pyright: ignore
        nodes: list[Any] = [item, item.session] if of_session else [item]
        for node in nodes:
            node.stash[FAILED] = True
        from valhalla.pytest_plugin import reporting

        reporting.annotate(report, run, [opened for node in nodes for opened in node.stash.get(OPENED, [])])
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Wait until every sandbox is gone; the last user of the tests' own control plane stops it."""
    config = session.config
    if (run := config.stash.get(RUN, None)) is not None:
        home = run.close()
        output: dict[str, Any] | None = getattr(config, "workeroutput", None)
        if output is not None and home is not None:
            output["valhalla_home"] = str(home.data)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell xdist's worker who we are: the control plane that it starts runs as long as the controller does."""
    from valhalla.pytest_plugin.marks import Mark

    node.workerinput["valhalla_controller"] = Mark.own().document()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Learn from a worker which control plane it has made us a user of."""
    if home := getattr(node, "workeroutput", {}).get("valhalla_home"):
        node.config.stash[HOME] = home


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the control plane that the workers used; they have left before."""
    if (home := config.stash.get(HOME, None)) is not None:
        from pathlib import Path

        from valhalla.sdk.hosting import Home, leave

        leave(Home(Path(home)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the sandboxes that were kept."""
    kept: list[str] = []
    for outcome in ("failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            kept.extend(getattr(report, "valhalla_kept", []))
    if kept:
        terminalreporter.section("kept sandboxes")
        for line in dict.fromkeys(kept):
            terminalreporter.line(line)
