"""What became of rate limits' requests, and what they would say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Group
from valhalla.sdk.wire import Request, params

Document = dict[str, Any]


def usage(*, top: int | None = None) -> Request[Document]:
    """Say what became of each rule's requests in this process, and who takes most."""
    return Request("GET", "/system/rate-limits/usage", Document, params=params(top=top))


def test(body: Mapping[str, Any]) -> Request[Document]:
    """Say which rules would count a request, under which name, and whether it would pass. Takes nothing."""
    return Request("POST", "/system/rate-limits/test", Document, body=body)


class _Limits:
    """What both kinds of client have."""

    usage = Call(usage)
    test = Call(test)


class Limits(Group, _Limits):
    """What became of rate limits' requests, and what they would say."""


class AsyncLimits(AsyncGroup, _Limits):
    """What became of rate limits' requests, and what they would say."""
