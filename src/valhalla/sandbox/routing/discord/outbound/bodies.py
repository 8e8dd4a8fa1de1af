"""Bodies of calls, read so that Discord cannot read them in another way. Pure.

What decides is what a message refers to: a forward carries another channel's message along, and to read that one is
no sandbox's right.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_BOUNDARY: Final = re.compile(
    r'multipart/form-data; *boundary=(?:"([\w\'()+,./:=?-]{1,70})"|([\w\'+.-]{1,70}))', re.IGNORECASE
)
_JSON: Final = re.compile(r'application/json(?:; *charset="?utf-8"?)?', re.IGNORECASE)
_DISPOSITION: Final = re.compile(
    r'content-disposition: *form-data; *name="(?P<name>[^"\\\r\n%]*)"(?:; *filename="[^"\\\r\n]*")?'
    r"(?:; *filename\*=[!-~]+)?",
    re.IGNORECASE,
)
_TYPE: Final = re.compile(r"content-type: *[ -~]{1,200}", re.IGNORECASE)
FILE: Final = re.compile(r"files?(?:\[\d{1,3}\]|\d{0,3})")
_DEEPEST: Final = 64


class Unreadable(Exception):  # noqa: N818 - what it is
    """The body can be read in two ways, or in none."""


def read(kind: str, body: bytes, *, names: re.Pattern[str] | None = FILE) -> Any:
    """Return the JSON of a body; of a form with files the part that is a document, None where there is none.

    ``names`` are those of parts besides ``payload_json``, None for any.

    Raises:
        Unreadable: it has another form, a member twice, or parts that a client library does not make.
    """
    if not body:
        return None
    if _JSON.fullmatch(kind.strip()):
        return _document(body)
    boundary = _BOUNDARY.fullmatch(kind.strip())
    if boundary is None:
        raise Unreadable("a body is JSON in UTF-8, or a form with a boundary")
    return _form(body, (boundary[1] or boundary[2]).encode(), names)


def foreign(document: object, channel: str | None) -> bool:
    """Say whether a message refers to one that is not of ``channel``; None: to any message at all."""
    if isinstance(document, list):
        found: list[object] = document  # pyright: ignore[reportUnknownVariableType]
        return any(foreign(each, channel) for each in found)
    if not isinstance(document, dict):
        return False
    known: dict[str, object] = document  # pyright: ignore[reportUnknownVariableType]
    reference = known.get("message_reference")
    if reference is not None:
        source: object = reference.get("channel_id") if isinstance(reference, dict) else ""  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if channel is None or (source is not None and str(source) != channel):  # pyright: ignore[reportUnknownArgumentType]
            return True
    return any(foreign(each, channel) for each in known.values())


def _document(body: bytes) -> Any:
    try:
        found = json.loads(body.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is not JSON in UTF-8") from error
    if _depth(found) > _DEEPEST:
        raise Unreadable("it is nested too deeply")
    return found


def _depth(document: object) -> int:
    level: list[object] = [document]
    depth = 0
    while level and depth <= _DEEPEST:
        depth += 1
        below: list[object] = []
        for each in level:
            if isinstance(each, dict):
                below.extend(each.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            elif isinstance(each, list):
                below.extend(each)  # pyright: ignore[reportUnknownArgumentType]
        level = below
    return depth


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unreadable("a member comes twice")
    return found


def _form(body: bytes, boundary: bytes, names: re.Pattern[str] | None) -> Any:
    first, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if first or len(parts) < 2 or parts[-1].strip(b"\r\n") != b"--":
        raise Unreadable("the form does not begin or end with its boundary")
    found: list[bytes] = []
    for part in parts[:-1]:
        head, blank, content = part.partition(b"\r\n\r\n")
        if not blank or not head.startswith(b"\r\n"):
            raise Unreadable("a part has no head")
        name = _name(head[2:])
        if name == "payload_json":
            found.append(content)
        elif names is not None and names.fullmatch(name) is None:
            raise Unreadable("a part is neither a file nor payload_json")
    if len(found) > 1:
        raise Unreadable("payload_json comes twice")
    return _document(found[0]) if found else None


def _name(head: bytes) -> str:
    try:
        lines = head.decode().split("\r\n")
    except UnicodeDecodeError as error:
        raise Unreadable("a part's head is not text") from error
    said = [found for line in lines if (found := _DISPOSITION.fullmatch(line))]
    if len(said) != 1 or not all(_DISPOSITION.fullmatch(line) or _TYPE.fullmatch(line) for line in lines):
        raise Unreadable("a part's head says more than what it is")
    return said[0]["name"]
