"""OFREP 0.3: how OpenFeature's clients ask for flags. Forms and failures are the protocol's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from valhalla.features.operations.flags.contracts import Resolution
from valhalla.features.operations.flags.evaluating import FlagSet, mentions
from valhalla.version import VERSION

STREAM: Final = "/ofrep/v1/stream"
QUIET: Final = 120
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class Refused(ValueError):  # noqa: N818 - the protocol's failure, not ours
    """The request cannot be evaluated."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.document: dict[str, Any] = {"errorCode": code, "errorDetails": details}


def context_of(body: bytes) -> dict[str, Any]:
    """Return the evaluation context of a request; an empty body has an empty one.

    Raises:
        Refused: it is not JSON, or not a context.
    """
    if not body.strip():
        return {}
    try:
        asked: Any = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("PARSE_ERROR", "the body is not JSON") from error
    if not isinstance(asked, dict):
        raise Refused("PARSE_ERROR", "the body is not an object")
    context: Any = cast("dict[str, Any]", asked).get("context")
    if context is None:
        return {}
    if not isinstance(context, dict):
        raise Refused("INVALID_CONTEXT", "the context is not an object")
    found = cast("dict[str, Any]", context)
    if not isinstance(found.get("targetingKey", ""), str):
        raise Refused("INVALID_CONTEXT", "the targetingKey is not a text")
    return found


def answer(flags: FlagSet, key: str, context: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return status and document of one evaluation."""
    found = flags.evaluate(key, context)
    if found.failure is None and not (found.reason == "DEFAULT" and _lacks_key(flags, key, context)):
        return 200, _success(key, found)
    code = found.failure or "TARGETING_KEY_MISSING"
    details = found.details or "the rule splits by targetingKey, and the context has none"
    return 404 if code == "FLAG_NOT_FOUND" else 400, {"key": key, "errorCode": code, "errorDetails": details}


def bulk(flags: FlagSet, context: Mapping[str, Any]) -> bytes:
    """Return the document of all flags: failures stand among the others."""
    items = [answer(flags, key, context)[1] for key in sorted(flags)]
    stream = {"type": "sse", "endpoint": {"requestUri": STREAM}, "inactivityDelaySec": QUIET}
    return _encode({"flags": items, "eventStreams": [stream]})


def etag(flags: FlagSet, body: bytes, document: bytes | None = None) -> str:
    """Return the tag of what a body is answered: of flags and context, or of the answer if time decides too."""
    parts = (b"answer", document) if document is not None else (flags.revision.encode(), body)
    raw = b"\0".join((VERSION.encode(), flags.environment.encode(), *parts))
    return f'"{hashlib.sha256(raw).hexdigest()[:32]}"'


def matches(header: str | None, tag: str) -> bool:
    """Say whether ``If-None-Match`` names the tag."""
    if header is None:
        return False
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in header.split(","))


def _success(key: str, found: Resolution) -> dict[str, Any]:
    # clients need a variant even where there is none, and take no null for a value
    document: dict[str, Any] = {"key": key, "reason": found.reason, "variant": found.variant}
    if found.found:
        document["value"] = found.value
    if found.metadata:
        document["metadata"] = found.metadata
    return document


def _lacks_key(flags: FlagSet, key: str, context: Mapping[str, Any]) -> bool:
    if context.get("targetingKey"):
        return False
    found = flags.find(key)
    return found is not None and splits_by_key(found[0].targeting) and not mentions(found[0], "targetingKey")


def splits_by_key(rule: Any) -> bool:
    """Say whether a rule has a split that names nothing to stick to."""
    if isinstance(rule, list):
        return any(map(splits_by_key, cast("list[Any]", rule)))
    if not isinstance(rule, dict):
        return False
    members = cast("dict[str, Any]", rule)
    split: Any = members.get("fractional")
    if isinstance(split, list) and split and isinstance(split[0], list):
        return True
    return any(map(splits_by_key, members.values()))
