"""Publishers of events under subjects of their own: what is mapped of them, and credentials for their programs."""

from __future__ import annotations

from typing import Any, Literal

from valhalla.sdk.groups import AsyncGroup, Call, Group
from valhalla.sdk.wire import Request, segment

Document = dict[str, Any]


def state(name: str) -> Request[Document]:
    """What the NATS server maps of a source's claimed keys now."""
    return Request("GET", f"/system/event-sources/{segment(name)}/state", Document)


def credentials(
    name: str, *, role: Literal["publisher", "account"] = "publisher", days: int = 365
) -> Request[Document]:
    """Issue NATS credentials: for its subjects alone, or for everything in the source's account."""
    path = f"/system/event-sources/{segment(name)}/credentials"
    return Request("POST", path, Document, body={"role": role, "days": days})


class Sources(Group):
    """Event sources that are not ours."""

    state = Call(state)
    credentials = Call(credentials)


class AsyncSources(AsyncGroup):
    """Event sources that are not ours."""

    state = Call(state)
    credentials = Call(credentials)
