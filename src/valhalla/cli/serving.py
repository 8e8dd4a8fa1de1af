"""The options of a server that this command line starts: for this process, or for a child of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from valhalla.server.options import ServeOptions

F = TypeVar("F", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Serving:
    """What was said about the server; whatever was not, the settings decide."""

    config: Path | None = None
    assignments: tuple[str, ...] = ()
    named: Mapping[str, object] = field(default_factory=dict[str, object])

    @classmethod
    def of(cls, *, config: Path | None, assignments: tuple[str, ...], **named: object) -> Serving:
        """Take the values of ``serving_options``; what was not given is ``None`` or a flag that is off."""
        absolute = {name: value.absolute() if isinstance(value, Path) else value for name, value in named.items()}
        said = {name: value for name, value in absolute.items() if value is not None and value is not False}
        return cls(config and config.absolute(), assignments, said)

    def overrides(self) -> dict[str, object]:
        """Return the settings that were named, by field name.

        Raises:
            click.BadParameter: an assignment has no ``=``.
        """
        settings = dict(self.named)
        for assignment in self.assignments:
            name, equals, value = assignment.partition("=")
            if not (name and equals):
                raise click.BadParameter(f"{assignment!r} is not NAME=VALUE.", param_hint="'--set'")
            settings[name] = value
        return settings

    def options(self, data_dir: Path | None) -> ServeOptions:
        """Return the server's ``ServeOptions``."""
        from valhalla.server.options import ServeOptions

        return ServeOptions(data_dir=data_dir, config=self.config, overrides=self.overrides())

    def environment(self) -> dict[str, str]:
        """Return the settings as a child's variables: they hold passwords, which arguments show to everybody."""
        return {f"VALHALLA_{name.upper()}": str(value) for name, value in self.overrides().items()}


def serving_options(function: F) -> F:
    """Accept everything of ``Serving`` on a command."""
    for option in (
        click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Any setting; repeatable."),
        click.option("--tls-key", type=_PATH, help="TLS key, PEM."),
        click.option("--tls-cert", type=_PATH, help="TLS certificate, PEM."),
        click.option("--allow-plaintext", is_flag=True, help="Bind beyond loopback without TLS."),
        click.option("--nats-url", help="An external NATS instead of the embedded one."),
        click.option(
            "--valkey-url",
            help="An external Valkey or Redis. May hold a password: prefer VALHALLA_VALKEY_URL.",
        ),
        click.option("--database-url", help="An external Postgres. May hold a password: prefer VALHALLA_DATABASE_URL."),
        click.option("--config", type=_PATH, help="Settings file (default: ./valhalla.toml)."),
        click.option("--port", type=click.IntRange(0, 65535), help="Port (default: the last one, or a free one)."),
        click.option("--host", help="Address to bind (default: 127.0.0.1)."),
    ):
        function = option(function)
    return function
