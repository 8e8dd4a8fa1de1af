"""A call as a value, and what an answer means: pure, so that every transport shares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import quote

import msgspec

from valhalla.sdk.errors import ApiProblem

T = TypeVar("T")

_REPORT_IT: Final = "Check that VALHALLA_URL names a Valhalla control plane of this version."


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One call; statuses in ``accept`` are answers of type ``answer``, too, and no problems.

    An answer of type ``bytes`` is taken as it comes, any other as JSON.
    """

    method: str
    path: str
    answer: type[T]
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Mapping[str, Any] | str | None = None
    """A document, or text that is sent as it is."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    accept: frozenset[int] = frozenset()
    timeout: float | None = None

    @property
    def is_repeatable(self) -> bool:
        """Whether sending it twice has the effect of sending it once."""
        return self.method in {"GET", "DELETE"} or "Idempotency-Key" in self.headers

    def content(self) -> bytes | None:
        """Return the body's bytes."""
        if isinstance(self.body, str):
            return self.body.encode()
        return None if self.body is None else msgspec.json.encode(self.body)

    def decode(self, document: Any) -> T:
        """Give the document its type.

        Raises:
            ApiProblem: it does not have the agreed form (``unexpected-answer``).
        """
        if self.answer is type(None):
            return cast("T", None)
        if self.answer is bytes:
            return document
        try:
            return msgspec.convert(document, self.answer)
        except msgspec.ValidationError as error:
            raise unexpected(200, f"{self.method} {self.path} answered in an unknown form: {error}") from error


def segment(text: str) -> str:
    """Quote one path segment; what would change the path is refused.

    Raises:
        ApiProblem: the text is empty, ``.`` or ``..``.
    """
    if text in {"", ".", ".."}:
        raise ApiProblem("invalid-request", 422, f"{text!r} is no name", "Give an id or a name.")
    return quote(text, safe="")


def params(**values: object) -> dict[str, str]:
    """Return query parameters: absent values are left out, booleans written as JSON does."""
    return {name: _text(value) for name, value in values.items() if value is not None and value is not False}


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


def present(**values: object) -> dict[str, object]:
    """Return the members that were given."""
    return {name: value for name, value in values.items() if value is not None}


def interpret(request: Request[Any], status: int, content: bytes) -> Any:
    """Return the answer's document, or ``None`` when it has no body.

    Raises:
        ApiProblem: the answer is a problem, or no answer of a control plane at all.
    """
    if request.answer is bytes and 200 <= status < 300:
        return content
    document = _parse(content) if content else None
    if 200 <= status < 300 or status in request.accept:
        if content and document is None and content.strip() != b"null":
            raise unexpected(status, f"the answer to {request.method} {request.path} is no JSON")
        return document
    members = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    if "code" not in members and "title" not in members:
        raise unexpected(status, f"{request.method} {request.path} was answered with HTTP {status}")
    extra = {k: v for k, v in members.items() if k not in {"code", "status", "detail", "help"}}
    raise ApiProblem(
        code=str(members.get("code") or f"http-{status}"),
        status=status,
        detail=str(members.get("detail") or members.get("title") or f"HTTP {status}"),
        help=str(members.get("help") or ""),
        extra=extra,
    )


def unexpected(status: int, detail: str) -> ApiProblem:
    """Return the problem for an answer that no control plane gives."""
    title = "That is not an answer of a Valhalla control plane"
    return ApiProblem("unexpected-answer", status, detail, _REPORT_IT, {"title": title})


def _parse(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None
