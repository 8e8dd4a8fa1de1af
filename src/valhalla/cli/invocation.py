"""What the global options said, wherever on the line they stood."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from valhalla.sdk.client import Client

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass(slots=True)
class Invocation:
    """The global options of this call."""

    data_dir: Path | None = None
    url: str | None = None
    api_key: str | None = None
    json: bool = False
    quiet: bool = False
    no_color: bool = False

    def client(self, timeout: float = 30) -> Client:
        """Open a client of the control plane that is meant; close it after use.

        Raises:
            Unreachable: there is none.
        """
        # httpx imports its own command line, and with it rich and pygments (190 ms), when it finds them
        if "httpx" not in sys.modules:
            sys.modules["httpx._main"] = None  # pyright: ignore[reportArgumentType]
        from valhalla.sdk.client import Client

        return Client(self.url, self.api_key, self.data_dir, timeout)

    def ask(self, what: Callable[[Client], T]) -> T:
        """Return what a client answers to ``what``.

        Raises:
            Unreachable: there is no control plane to ask.
        """
        with self.client() as client:
            return what(client)

    def again(self, *words: str) -> str:
        """Return a command line for the user to copy that means the same control plane."""
        import shlex

        where = ["--data-dir", str(self.data_dir)] if self.data_dir else ["--url", self.url] if self.url else []
        return shlex.join(["valhalla", *where, *words])


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def _store(ctx: click.Context, param: click.Parameter, value: object) -> None:
    # an option that was not given must not undo what was said before the subcommand
    if value is not None and value is not False and param.name:
        setattr(ctx.ensure_object(Invocation), param.name, value)


def global_options(function: F) -> F:
    """Accept the global options here, with help."""
    return _options(function, hidden=False)


def shared_options(function: F) -> F:
    """Accept the global options on a subcommand; the help names the two of everyday use."""
    return _options(function, hidden=True)


def _options(function: F, *, hidden: bool) -> F:
    for option in (
        click.option(
            "--no-color",
            is_flag=True,
            help="Write no colours (as NO_COLOR does).",
            expose_value=False,
            callback=_store,
            hidden=hidden,
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print names only.", expose_value=False, callback=_store),
        click.option("--json", is_flag=True, help="Print JSON.", expose_value=False, callback=_store),
        click.option(
            "--api-key",
            metavar="KEY",
            expose_value=False,
            callback=_store,
            hidden=hidden,
            help="API key. Others on this machine can read arguments: prefer VALHALLA_API_KEY.",
        ),
        click.option(
            "--url",
            metavar="URL",
            expose_value=False,
            callback=_store,
            hidden=hidden,
            help="The control plane's address (VALHALLA_URL).",
        ),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path, file_okay=False),
            expose_value=False,
            callback=_store,
            hidden=hidden,
            help="Data directory (VALHALLA_DATA_DIR, else ./.valhalla); names a running one.",
        ),
    ):
        function = option(function)
    return function
