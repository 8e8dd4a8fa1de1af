"""Templates of messages: rendered in a child process, so that none can hold us up or fill our memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from valhalla.features.data.notifications import payloads
from valhalla.features.data.notifications.contracts import Delivery, Template
from valhalla.features.data.notifications.errors import BadTemplate
from valhalla.kit.children import Child, ChildFailed
from valhalla.kit.log import get_logger

_log = get_logger("notifications")
_MODULE: Final = "valhalla.kit.children.templates"
_MEMORY: Final = 512 * 2**20
SECONDS: Final = 1.0
MOST: Final = 50_000
"""Characters of each part of a message."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The parts of a message."""

    body: str
    subject: str | None = None
    html: str | None = None


class Renderer:
    """Renders what deliveries name; ``find`` returns a template by its name."""

    def __init__(self, find: Callable[[str], Template | None]) -> None:
        self._find = find
        self._child = Child(_MODULE, memory=_MEMORY)
        self.failures = 0

    async def render(self, delivery: Delivery, usual: str | None) -> Rendered | None:
        """Return what a delivery's template, or else its channel's ``usual`` one, makes of it.

        None when it has none, or when that fails: a message that reads plainly is better than none.
        """
        name = delivery.template or usual
        template = None if name is None else self._find(name)
        if template is None:
            return None
        try:
            return await self.attempt(template, payloads.context(delivery))
        except BadTemplate as problem:
            self.failures += 1
            _log.warning("a template failed and the message is sent without it", template=name, error=problem.detail)
            return None

    async def attempt(self, template: Template, context: Mapping[str, Any], *, strict: bool = False) -> Rendered:
        """Render a template; with ``strict`` what the context does not have is an error.

        Raises:
            BadTemplate: it cannot be read, or takes too much time or room.
        """
        parts = {"body": template.body, "subject": template.subject, "html": template.html}
        request = {
            "parts": {name: source for name, source in parts.items() if source is not None},
            "context": context,
            "most": MOST,
            "strict": strict,
        }
        try:
            answer: dict[str, Any] = await self._child.ask(request, seconds=SECONDS)
        except ChildFailed as error:
            raise BadTemplate(f"the template was given up: {error}") from error
        if "error" in answer:
            at = "" if answer["line"] is None else f" in line {answer['line']}"
            errors = [{"in": "body", "pointer": f"/{answer['part']}", "detail": answer["error"]}]
            raise BadTemplate(f"/{answer['part']}{at}: {answer['error']}", errors=errors)
        return Rendered(**answer["rendered"])

    async def close(self) -> None:
        """End the child."""
        await self._child.close()
