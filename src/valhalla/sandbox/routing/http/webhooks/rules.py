"""Which receivers can be meant, and which event a webhook is. Pure."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Final

import msgspec

from valhalla.kernel.problems import Invalid
from valhalla.kit import jsonpath
from valhalla.sandbox.routing import kinds
from valhalla.sandbox.routing.contracts import MAX_DATA, Event
from valhalla.sandbox.routing.http.webhooks.contracts import IDS, Posted, Receiver
from valhalla.sandbox.routing.http.webhooks.errors import BadReceiver, KeyMissing

NAME: Final = r"[a-z0-9][a-z0-9_-]{0,62}"
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_PREFIX: Final = re.compile(r"[\x21-\x7e]{0,40}")
_MEDIA: Final = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}(?:; ?[A-Za-z0-9-]{1,32}=[A-Za-z0-9._-]{1,64}){0,4}"
)
_BINARY: Final = "application/octet-stream"
_MAX_ID: Final = 120
_MAX_TYPE: Final = 128
# who holds the request's credentials could be anybody in the sandbox: no sender means these to say whose it is
_NEVER: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


def check(receiver: Receiver) -> None:
    """Accept a receiver.

    Raises:
        BadReceiver: it contradicts itself; ``errors`` names the member.
    """
    if re.fullmatch(NAME, receiver.name) is None:
        raise bad("name", f"a name has the form {NAME}")
    try:
        kinds.source_of(receiver.kind)
    except kinds.KindFormError as error:
        raise bad("kind", str(error)) from error
    _check_origin("key_from", receiver.key_from, also="path")
    _check_origin("type_from", receiver.type_from)
    _check_origin("id_from", receiver.id_from, also="auto", fixed=False)
    for member, text in (("key_from", receiver.key_from), ("default_key", f"fixed:{receiver.default_key}")):
        if text.startswith("fixed:") and not (member == "default_key" and receiver.default_key is None):
            _check_key(member, receiver.kind, text.removeprefix("fixed:"))
    if (receiver.scheme == "hmac") != (receiver.header is not None):
        raise bad("header", "the scheme 'hmac' has a header, and it alone")
    if receiver.header is not None and _HEADER.fullmatch(receiver.header) is None:
        raise bad("header", "the name of a header")
    if _PREFIX.fullmatch(receiver.prefix) is None:
        raise bad("prefix", "up to 40 printable characters without spaces, such as sha256=")
    if not 1 <= receiver.tolerance <= 3600:
        raise bad("tolerance", "1 to 3600 seconds")
    if not 1 <= receiver.max_bytes <= MAX_DATA:
        raise bad("max_bytes", f"1 to {MAX_DATA:,} bytes")


def event_of(receiver: Receiver, posted: Posted) -> Event:
    """Return the event that a webhook is, under an id that is the same in each attempt of its sender.

    Raises:
        KeyMissing: it does not say whose it is.
    """
    document = _Document(posted.body)
    key = _found(receiver.key_from, posted, document)
    key = receiver.default_key if key is None else key
    if key is None:
        raise KeyMissing(f"there is nothing at '{receiver.key_from}'")
    try:
        key = kinds.check_key(receiver.kind, key)
    except kinds.KeyFormError as error:
        raise KeyMissing(f"what is at '{receiver.key_from}' is no key of '{receiver.kind}': {error}") from error
    media = posted.headers.get("content-type", "").strip()
    return Event(
        source=kinds.source_of(receiver.kind),
        key=key,
        type=(_found(receiver.type_from, posted, document) or "webhook")[:_MAX_TYPE],
        data=posted.body,
        # two receivers of one source have senders that do not know of each other
        id=f"{receiver.name}:{_id(receiver, posted, document)}",
        content_type=media if _MEDIA.fullmatch(media) else _BINARY,
        traceparent=posted.headers.get("traceparent"),
        baggage=posted.headers.get("baggage"),
        extensions={"receiver": receiver.name},
    )


class _Document:
    """The body as JSON, read when it is first asked for."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._read = False
        self._value: Any = None

    def at(self, path: str) -> str | None:
        """Return the text, number or truth at a path; None where there is none, or where there are several."""
        if not self._read:
            self._read = True
            try:
                self._value = msgspec.json.decode(self._body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._value = None
        found = jsonpath.find(self._value, jsonpath.parse(path))
        if len(found) != 1 or not isinstance(found[0], (str, int)):
            return None
        return str(found[0]).lower() if isinstance(found[0], bool) else str(found[0])


def _found(origin: str, posted: Posted, document: _Document) -> str | None:
    where, _, what = origin.partition(":")
    match where:
        case "path":
            return posted.rest or None
        case "header":
            return posted.headers.get(what.lower(), "").strip() or None
        case "body":
            return document.at(what) or None
        case _:
            return what


def _id(receiver: Receiver, posted: Posted, document: _Document) -> str:
    if receiver.id_from == "auto":
        given = next((value for name in IDS if (value := posted.headers.get(name, "").strip())), None)
    else:
        given = _found(receiver.id_from, posted, document)
    if given is None:
        return f"sha256-{sha256(posted.body).hexdigest()}"
    if len(given) <= _MAX_ID and given.isascii() and given.isprintable():
        return given
    return f"id-sha256-{sha256(given.encode('utf-8', 'replace')).hexdigest()}"


def _check_origin(member: str, text: str, *, also: str | None = None, fixed: bool = True) -> None:
    if text == also:
        return
    where, _, what = text.partition(":")
    if where == "header" and _HEADER.fullmatch(what) is not None:
        if what.lower() in _NEVER:
            raise bad(member, "credentials do not say whose a webhook is")
        return
    if where == "body":
        try:
            steps = jsonpath.parse(what)
        except ValueError as error:
            raise bad(member, str(error)) from error
        if None in steps or not steps:
            raise bad(member, "a path that leads to one member, such as $.account.id")
        return
    if where == "fixed" and fixed and what and len(what) <= _MAX_TYPE and what.isprintable():
        return
    offered = [*([also] if also else []), "header:NAME", "body:$.a.b", *(["fixed:TEXT"] if fixed else [])]
    raise bad(member, f"one of {', '.join(offered)}")


def _check_key(member: str, kind: str, key: str) -> None:
    try:
        kinds.check_key(kind, key)
    except kinds.KeyFormError as error:
        raise bad(member, str(error)) from error


def bad(member: str, detail: str) -> Invalid:
    """Return the problem of one member."""
    return BadReceiver(f"/{member}: {detail}", errors=[{"in": "body", "pointer": f"/{member}", "detail": detail}])
