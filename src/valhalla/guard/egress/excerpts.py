"""What of an attempt may be kept: short, and without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from valhalla.kit import redact

MAX_EXCERPT: Final = 200
# parsing and patterns must not run over megabytes
_LOOKED_AT: Final = 16_384
_SECRET_ARGUMENT: Final = re.compile(
    r"(?i)((?:^|\s)(?:-{1,2}|[A-Z_]*)?[\w-]*(?:password|passwd|secret|token|api[_-]?key|credential)[\w-]*[= ])(\S+)"
)

_SECRET_MEMBER: Final = re.compile(
    r"""(?ix)("[^"]*(?:password|passwd|secret|token|key|auth|cookie|credential|private|seed)[^"]*"\s*:\s*)
    ("[^"]*"?|[^,}\]]+)"""
)


def size_of(body: object) -> int | None:
    """Return the bytes of a body, ``None`` for one that has to be read to be known."""
    if body is None:
        return 0
    if isinstance(body, str):
        return len(body.encode(errors="surrogatepass"))
    return len(cast("bytes", body)) if isinstance(body, (bytes, bytearray, memoryview)) else None


def of_body(body: object) -> str:
    """Return the beginning of a body without secrets: JSON and forms by their members' names, the rest by its look."""
    if isinstance(body, (bytes, bytearray, memoryview)):
        body = bytes(cast("bytes", body)[:_LOOKED_AT]).decode(errors="replace")
    if not isinstance(body, str) or not body:
        return ""
    body = body[:_LOOKED_AT]
    if body.lstrip()[:1] in ("{", "["):
        return _cut(_json(body))
    if re.fullmatch(r"[^\s=&]+=[^\s=&]*(&[^\s=&]+=[^\s=&]*)*", body):
        return _cut(_form(body))
    return words(body)


def words(text: str) -> str:
    """Return the beginning of a text without what looks like a secret."""
    return _cut(_SECRET_ARGUMENT.sub(rf"\1{redact.MASK}", redact.text(text, limit=MAX_EXCERPT * 4)))


def url(text: str) -> str:
    """Return a URL without its user, its fragment and the values of secret parameters."""
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return words(text)
    return redact.text(urlunsplit((parts.scheme, host, parts.path, _form(parts.query), "")), limit=MAX_EXCERPT)


def command(arguments: object) -> str:
    """Return a command line without the values of secret options."""
    if isinstance(arguments, (list, tuple)):
        parts = cast("Sequence[Any]", arguments)
        return words(" ".join(_text(part) for part in parts))
    return words(_text(arguments))


def _text(value: object) -> str:
    return bytes(value).decode(errors="replace") if isinstance(value, (bytes, bytearray)) else str(value)


def _json(body: str) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        # cut or broken: what follows a secret name cannot be told from the rest
        return redact.text(_SECRET_MEMBER.sub(rf'\1"{redact.MASK}"', body), limit=MAX_EXCERPT * 2)
    return json.dumps(redact.redact(document), ensure_ascii=False)


def _form(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=1000) if query.count("&") < 1000 else []
    if not pairs:
        return redact.text(query, limit=MAX_EXCERPT) if query and "=" not in query else ""
    return urlencode([(k, redact.MASK if redact.is_secret_name(k) else redact.text(v)) for k, v in pairs], safe="*/:,")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_EXCERPT else text[:MAX_EXCERPT] + "…[cut]"
