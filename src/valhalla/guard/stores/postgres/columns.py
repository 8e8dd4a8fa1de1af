"""A batch's simple requests as columns, each one text: a third of what the same in JSON costs the server.

Drivers look at every element of an array; a text that the server splits they send as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from valhalla.guard.contracts import Began, BeginRequest, BeginResult, CasRequest, CasResult, Verdict
from valhalla.guard.stores.made import made
from valhalla.guard.stores.postgres.ops import Request, Result
from valhalla.guard.stores.wire import pack, seconds
from valhalla.kit import redact

# between the elements of a column; JSON and hexadecimal digits never hold it, of other texts it is looked for
SEPARATOR: Final = "\x1f"

_BEGINS: Final = 11
_ENDS: Final = 7
# what a second statement for those that are not simple costs, is not worth it for less
_FEW: Final = 2
_PATCHED: Final = frozenset({"value", "failure"})
_SOURCES: Final = frozenset({"executing", "indeterminate"})
_DONE: Final = CasResult("done")

Row = tuple[str, ...]


def statement(schema: str, placeholder: Callable[[int], str]) -> str:
    """Return the statement; ``placeholder`` makes the n-th one (from 1) in the driver's form."""
    texts = ", ".join(f"{placeholder(number)}::text" for number in range(1, _BEGINS + _ENDS + 1))
    return f"SELECT at, begun, ended FROM {schema}.batch({texts})"


class Simple:
    """The requests of one batch that go as columns, and where their answers belong."""

    def __init__(self, batch: Sequence[Request]) -> None:
        self._batch = batch
        self._begins: dict[int, Row] = {}
        self._ends: dict[int, Row] = {}
        if len(batch) < _FEW:
            return
        for place, request in enumerate(batch):
            if isinstance(request, BeginRequest):
                if (row := _claim(request)) is not None:
                    self._begins[place] = row
            elif isinstance(request, CasRequest) and (row := _end(request)) is not None:
                self._ends[place] = row

    def __bool__(self) -> bool:
        """Whether there are enough of them."""
        return len(self._begins) + len(self._ends) >= _FEW

    def columns(self) -> list[str]:
        """Return the arguments of the statement."""
        return _turned(self._begins, _BEGINS) + _turned(self._ends, _ENDS)

    def answer(self, row: Any, answers: list[Result | None]) -> None:
        """Put the answers that the statement gave into their places; what it left out is asked one by one."""
        at: float
        begun: list[int]
        ended: list[int]
        at, begun, ended = row
        batch: Any = self._batch
        begins, ends = list(self._begins), list(self._ends)
        for place in (begins[number - 1] for number in begun):
            request: BeginRequest = batch[place]
            answers[place] = BeginResult(Began.EXECUTE, made(request, request.id, 1, at))
        for number in ended:
            answers[ends[number - 1]] = _DONE


def _claim(request: BeginRequest) -> Row | None:
    """Return the columns of a claim of a key, ``None`` for every other request."""
    key, principal = request.key, request.principal
    if (
        key is None
        or request.verdict is not Verdict.RUN
        or request.takes
        or request.reason is not None
        or not request.keep
        or not _fits(request.id, request.name, key, principal)
    ):
        return None
    return (
        request.id, request.name, key, redact.text(key), request.fingerprint.hex(), principal, _shown(principal),
        *_spans(request.lease, request.ttl, request.tombstone),
        _cold(request.effect.value, request.policy, request.parent, request.correlation),
    )  # fmt: skip


def _end(request: CasRequest) -> Row | None:
    """Return the columns of an execution's end, ``None`` for every other request."""
    patch = request.patch
    if (
        not request.brief
        or request.event != "finish"
        or request.generation is None
        or request.version is not None
        or request.when is not None
        or request.takes
        or not (request.lease is request.expires_in is request.ttl is request.tombstone is None)
        or not _PATCHED.issuperset(patch)
        or "executing" not in request.sources
        or not _SOURCES.issuperset(request.sources)
    ):
        return None
    failure, value = patch.get("failure"), patch.get("value")
    try:
        result = "" if value is None else value.decode()
    except UnicodeDecodeError:
        return None
    if not _fits(request.id, request.actor, result):
        return None
    return (
        request.id, request.to, _shown(request.actor), repr(request.generation),
        "t" if "indeterminate" in request.sources else "f", result,
        "" if failure is None else pack({"failure": failure}).decode(),
    )  # fmt: skip


def _fits(*texts: str) -> bool:
    """Say whether Postgres takes the texts as they are, and none of them looks like two."""
    text = "".join(texts)
    return SEPARATOR not in text and "\x00" not in text and (text.isascii() or redact.storable(text) == text)


# the same few come with every call


@lru_cache(1024)
def _shown(principal: str) -> str:
    return redact.text(principal)


@lru_cache(256)
def _spans(*durations: float) -> tuple[str, ...]:
    return tuple(repr(seconds(duration)) for duration in durations)


@lru_cache(256)
def _cold(effect: str, policy: str, parent: str | None, correlation: str | None) -> str:
    cold = {"effect": effect, "policy": policy, "parent": parent, "correlation": correlation}
    return pack({name: value for name, value in cold.items() if value is not None}).decode()


def _turned(rows: dict[int, Row], width: int) -> list[str]:
    return [SEPARATOR.join(column) for column in zip(*rows.values(), strict=True)] if rows else [""] * width
