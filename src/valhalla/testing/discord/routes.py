"""The table of routes of the REST interface: a method and a template of a path, and what answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from valhalla.testing.discord.calls import Request
    from valhalla.testing.discord.rest import Rest

Handler = Callable[["Rest", "Request"], Any]
"""Returns what is answered as JSON with 200, or nothing: 204."""

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
# the parameters that have limits of their own
_MAJOR: Final = ("channel_id", "guild_id", "webhook_id", "token")


@dataclass(frozen=True, slots=True)
class Route:
    """One route. ``open``: the token in its path is the permission, no bot token is needed."""

    method: str
    template: str
    pattern: re.Pattern[str]
    handler: Handler
    open: bool

    @staticmethod
    def major(parameters: Mapping[str, str]) -> str:
        """Return which bucket among those of the template."""
        return "/".join(parameters[name] for name in _MAJOR if name in parameters)


class Routes:
    """Routes of one idea, in the order in which they are tried."""

    def __init__(self) -> None:
        self.all: list[Route] = []

    def on(self, method: str, template: str, *, open: bool = False) -> Callable[[Handler], Handler]:  # noqa: A002
        """Let a function answer this route."""
        pattern = re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", template))

        def add(handler: Handler) -> Handler:
            self.all.append(Route(method, template, pattern, handler, open))
            return handler

        return add
