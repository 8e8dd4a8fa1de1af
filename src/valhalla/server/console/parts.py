"""Parts of a record that are things of their own, such as a sandbox's routes: shown, and acted on one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from valhalla.kernel.problems import Invalid
from valhalla.server.console import lanes, showing
from valhalla.server.console.api_index import fill
from valhalla.server.console.calling import Caller
from valhalla.server.console.contracts import Action, Page, Section

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts(Section):
    """A section of so many parts. It is there while the record fits ``when`` and has the ``slice``."""

    most: int = 0
    """How many are shown; 0 where the API gives all of them."""
    newest: bool = False
    """Whether it is a lane, of which the newest are shown."""
    when: Mapping[str, Sequence[Any]] | None = None
    slice: str = ""
    action: Action | None = None
    """What is done to one of them: behind ``{one}`` its path has members of the part."""
    more: str = ""
    """The command that shows more: ``{name}`` is the record's."""

    def fits(self, record: Mapping[str, Any]) -> bool:
        """Say whether a record has such parts as it is now."""
        has = not self.slice or self.slice in (record.get("slices") or ())
        return has and all(record.get(name) in values for name, values in (self.when or {}).items())


class Part(NamedTuple):
    """One of them; ``token`` is what forms and addresses call it by."""

    item: Mapping[str, Any]
    token: str
    name: str


class Found(NamedTuple):
    """What a section shows of them."""

    parts: list[Part]
    more: bool
    certain: bool = True
    """Whether these are the newest, of those of which that is to be said."""


def of(page: Page, name: str) -> tuple[Parts, Action] | None:
    """Return the section that has an action of this name, and the action."""
    for section in page.sections:
        if isinstance(section, Parts) and section.action is not None and section.action.name == name:
            return section, section.action
    return None


async def read(caller: Caller, page: Page, key: str, section: Parts) -> Found:
    """Ask for the parts of a record.

    Raises:
        Refused: the API says no.
    """
    path = fill(section.path.replace("{one}", page.one), key)
    if section.newest:
        lane = await lanes.newest(caller, path, section.most)
        return Found([_part(section, item) for item in lane.items], lane.more, lane.certain)
    # one more than is shown tells whether there are more
    document = await caller.get(path, {"limit": section.most + 1} if section.most else None)
    items: list[Any] = document[section.items] if section.items else document
    shown = items[: section.most] if section.most else items
    return Found([_part(section, item) for item in shown], len(items) > len(shown))


def path(page: Page, key: str, action: Action, token: str) -> str:
    """Return the path of an action on one part.

    Raises:
        Invalid: the token is none of such a part.
    """
    rest = action.path.removeprefix("{one}")
    values = iter(token.split("/"))
    if token.count("/") + 1 != len(_PARAMETER.findall(rest)):
        raise Invalid("the list of what it is for cannot be read")
    return fill(page.one, key) + _PARAMETER.sub(lambda _: quote(unquote(next(values)), safe=""), rest)


def _part(section: Parts, item: Mapping[str, Any]) -> Part:
    members = [] if section.action is None else _PARAMETER.findall(section.action.path.removeprefix("{one}"))
    values = [str(showing.pick(item, member)) for member in members]
    return Part(item, "/".join(quote(value, safe="") for value in values), ":".join(values))
