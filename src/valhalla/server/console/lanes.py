"""The newest events of a sandbox's lane, which the API reads from the oldest on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from valhalla.kernel.clock import isoformat
from valhalla.server.console.calling import Caller

# halving so often finds where a lane's last part begins, unless all of it came within milliseconds
_ROUNDS: Final = 14
_FURTHER: Final = 4


class Newest(NamedTuple):
    """Events, the newest first, each with ``read``: yes, taken or no. ``certain``: none is newer."""

    items: list[Mapping[str, Any]]
    more: bool
    certain: bool


async def newest(caller: Caller, path: str, most: int) -> Newest:
    """Return up to ``most`` events of a lane.

    Raises:
        Refused: the API says no.
    """
    # an event may have a megabyte: no more of them are asked for at once than are shown
    size = most + 1
    page = await caller.get(path, {"limit": size})
    if len(page["items"]) < size:
        return _told(page["items"], page["lag"], most, more=False, certain=True)
    begin: dict[str, Any] = page
    end, last = datetime.now(UTC), None
    for _ in range(_ROUNDS):
        since = _stored(begin["items"][-1])
        middle = since + (end - since) / 2
        tried = await caller.get(path, {"limit": size, "since": isoformat(middle)})
        if len(tried["items"]) >= size:
            begin = tried
            continue
        end, last = middle, tried if tried["items"] else last
        if len(tried["items"]) > most // 2:
            break
    if last is not None:
        return _told(last["items"], last["lag"], most, more=True, certain=True)
    for _ in range(_FURTHER):
        page = await caller.get(path, {"limit": size, "after": begin["next"]})
        items = [*begin["items"], *page["items"]][-size:]
        begin = {"items": items, "next": page["next"], "lag": page["lag"]}
        if len(page["items"]) < size:
            return _told(items, page["lag"], most, more=True, certain=True)
    return _told(begin["items"], begin["lag"], most, more=True, certain=False)


def _told(items: list[dict[str, Any]], lag: Mapping[str, int], most: int, *, more: bool, certain: bool) -> Newest:
    """Say of each whether it was read: what waits is the newest, before it is what a reader has in hand."""
    waiting, taken = lag["waiting"], lag["unacknowledged"]
    backwards = items[::-1][:most]
    if not certain:
        # an event may bring a member of this name along
        return Newest([{**item, "read": None} for item in backwards], more, certain)
    read = ("no" if n < waiting else "taken" if n < waiting + taken else "yes" for n in range(most))
    return Newest([{**item, "read": how} for item, how in zip(backwards, read, strict=False)], more, certain)


def _stored(item: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(item["stored_at"])
