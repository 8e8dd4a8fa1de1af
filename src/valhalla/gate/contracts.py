"""What the gate asks others: each question is a pure look at a snapshot, and one that is not asked costs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.kit.spans import Span

Header = tuple[bytes, bytes]


class Asking(NamedTuple):
    """One request as the questions see it; the names of headers are in lower case."""

    method: str
    path: str
    route: str
    """The template of the route, ``""`` when no route has this path or routes are not known."""
    headers: Mapping[bytes, bytes]
    address: str | None
    """Of the client, behind the trusted proxies; ``None`` over a Unix socket."""
    principal: Principal | None


class Quota(NamedTuple):
    """One limit after it was asked: ``remaining`` of ``limit`` calls per ``window``; ``reset`` when it is full again.

    Window and reset are in seconds.
    """

    name: str
    limit: int
    window: float
    remaining: int
    reset: float


class Taken(NamedTuple):
    """What the limits say: every quota that counted this request, and the problem if one is used up."""

    quotas: Sequence[Quota]
    refusal: Problem | None = None


class Ended(NamedTuple):
    """One answered request; times in seconds, ``started`` since the epoch."""

    name: str
    """Method and route, such as ``GET /api/sandboxes/{reference}``."""
    trace_id: str
    span_id: str
    parent_id: str | None
    started: float
    seconds: float
    status: int
    correlation: str
    principal: str | None
    sampled: bool
    inner: Sequence[Span] = ()
    """What happened inside, where spans are kept."""


class Authenticate(Protocol):
    """Tells keys apart."""

    def __call__(self, key: str, address: str | None, /) -> Principal | None:
        """Return whose key it is, ``None`` for nobody's.

        Raises:
            Problem: the key is known and must not be used so (from this address, say).
        """
        ...


class Shield(Protocol):
    """The state of maintenance."""

    @property
    def notices(self) -> Sequence[Header]:
        """Headers that every answer bears, to announce what is planned; usually none."""
        ...

    def refuse(self, method: str, path: str, query: bytes, principal: Principal | None) -> Problem | None:
        """Return why the request may not pass now; ``query`` is as it was sent."""
        ...


class Blocklist(Protocol):
    """Who is not let in."""

    def verdict(
        self,
        method: str,
        path: str,
        address: str | None,
        principal: Principal | None,
        headers: Mapping[bytes, bytes],
        *,
        proxied: bool,
    ) -> Problem | None:
        """Return why the caller is refused; ``proxied``: a trusted proxy handed the request on, with its headers."""
        ...

    def refusal(self, method: str, path: str, address: str | None, principal: Principal | None) -> Problem | None:
        """Return why such a request would be refused, and count nothing."""
        ...


class Policies(Protocol):
    """What is made of a request beyond who may and how much."""

    def judge(
        self,
        method: str,
        path: str,
        route: str,
        query: bytes,
        headers: Mapping[bytes, bytes],
        address: str | None,
        principal: Principal | None,
    ) -> Problem | None:
        """Return why a request is refused."""
        ...

    def refusal(
        self, method: str, path: str, route: str, address: str | None, principal: Principal | None
    ) -> Problem | None:
        """Return why such a request would be refused, and count nothing."""
        ...

    def answered(self, address: str | None, route: str, status: int, *, has_key: bool, is_known: bool) -> None:
        """Hear of an answer with a status of 400 or more; ``is_known``: the key was somebody's."""
        ...


class Decoys(Protocol):
    """Paths and words that nobody has a reason to ask for."""

    def find(self, path: str, query: bytes) -> Any:
        """Return what this request touches, ``None`` of nearly every one."""
        ...

    def touched(
        self, found: Any, method: str, path: str, headers: Mapping[bytes, bytes], address: str | None
    ) -> tuple[int, Sequence[Header], bytes] | None:
        """Note what was found, and return status, headers and body of the answer; ``None``: as if it were not there."""
        ...


class Limits(Protocol):
    """How much a caller may ask for. A limit that the whole fleet shares may have to be awaited."""

    def take(self, asking: Asking) -> Taken | Awaitable[Taken]:
        """Charge one request to every limit that it counts for."""
        ...


Spans = Callable[[Ended], None]
Failed = Callable[[BaseException, Ended], None]
"""Told what no one expected; neither waits nor raises."""
