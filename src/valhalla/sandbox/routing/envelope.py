"""What an event looks like on the wire: CloudEvents 1.0 in headers (binary mode), the trace, the claim. Pure.

https://github.com/cloudevents/spec: attributes as ``ce-`` headers, values percent-encoded as in the HTTP binding.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, unquote

from valhalla.kernel.clock import isoformat
from valhalla.kit import trace
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.contracts import MAX_DATA, Event, Received
from valhalla.sandbox.routing.errors import EventInvalid, EventTooLarge

MSG_ID: Final = "Nats-Msg-Id"
EPOCH: Final = "valhalla-epoch"
MIRROR: Final = "valhalla-mirror"
REASON: Final = "valhalla-dead-reason"
SEQUENCE: Final = "valhalla-dead-sequence"
_VERSION: Final = b"NATS/1.0\r\n"
_MAX_ID: Final = 200
_MAX_EXTENSIONS: Final = 20
# what RFC 7230 lets into a field, without space, quote and percent (CloudEvents HTTP binding, 3.1.3.2)
_SAFE: Final = "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
_COMMON: Final = "application/json"
_PLAIN: Final = re.compile(rf"[A-Za-z0-9{re.escape(_SAFE)}]*")
_VALUE: Final = re.compile(r"[\x20-\x7e]{1,8192}")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,20}")
_MEDIA: Final = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}(?:; ?[A-Za-z0-9-]{1,32}=[A-Za-z0-9._-]{1,64}){0,4}"
)
_DEPTH: Final = 100
_OWN: Final = frozenset({"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"})


def check(event: Event) -> Event:
    """Return the event.

    Raises:
        EventInvalid: a member has a wrong form; the member is named.
        EventTooLarge: the data is.
    """
    subjects.subject(subjects.Place(None, event.source, event.key, event.type))
    check_content(event)
    return event


def check_content(event: Event) -> None:
    """Check everything that its subject does not hold.

    Raises:
        EventInvalid, EventTooLarge: as ``check``.
    """
    if not 0 < len(event.id) <= _MAX_ID or not event.id.isprintable():
        raise EventInvalid(f"an event's id has 1 to {_MAX_ID} printable characters", member="id")
    if len(event.data) > MAX_DATA:
        raise EventTooLarge(f"an event has at most {MAX_DATA:,} bytes of data", member="data")
    if event.content_type != _COMMON and _MEDIA.fullmatch(event.content_type) is None:
        raise EventInvalid("a content type is 'type/subtype' with parameters", member="content_type")
    if event.time is not None and event.time.tzinfo is None:
        raise EventInvalid("a time has its offset from UTC", member="time")
    if event.time is not None and not 1 < event.time.year < 9999:
        raise EventInvalid("a time is in the years 2 to 9998", member="time")
    if len(event.extensions) > _MAX_EXTENSIONS:
        raise EventInvalid(f"at most {_MAX_EXTENSIONS} extensions", member="extensions")
    for name, value in event.extensions.items():
        if _EXTENSION.fullmatch(name) is None or name in _OWN or len(value) > 1024 or not _has_utf8(value):
            raise EventInvalid(
                "an extension is named with a-z and 0-9 and has at most 1,024 characters", member="extensions"
            )


def message_id(event: Event) -> str:
    """Return what the stream recognises a repetition by, in whichever lane it comes."""
    return f"{event.source}:{_quoted(event.id)}"


def standing_headers(event: Event) -> bytes:
    """Return the headers that do not depend on the lane; ``headers`` completes them.

    A trace or baggage that has not its form is left out: it came from somebody else, and the event is not its fault.
    """
    always = (
        f"ce-specversion: 1.0\r\nce-id: {_quoted(event.id)}\r\nce-source: /{event.source}\r\n"
        f"ce-type: {_quoted(event.type)}\r\nce-subject: {_quoted(event.key)}\r\ncontent-type: {event.content_type}\r\n"
    )
    if event.time is None and event.traceparent is None and event.baggage is None and not event.extensions:
        return always.encode()
    lines = [always]
    if event.time is not None:
        lines.append(f"ce-time: {event.time.astimezone(UTC).isoformat()}\r\n")
    if _is_field(event.traceparent) and trace.parse(event.traceparent) is not None:
        lines.append(f"traceparent: {event.traceparent}\r\n")
    if _is_field(event.baggage):
        lines.append(f"baggage: {event.baggage}\r\n")
    lines.extend(f"ce-{name}: {_quoted(value)}\r\n" for name, value in event.extensions.items())
    return "".join(lines).encode()


def headers(standing: bytes, msg_id: str, *, epoch: int = 0, mirrored: bool = False) -> bytes:
    """Return the whole block of headers for one lane."""
    own = f"{MSG_ID}: {msg_id}\r\n"
    if epoch:
        own += f"{EPOCH}: {epoch}\r\n"
    if mirrored:
        own += f"{MIRROR}: 1\r\n"
    return b"".join((_VERSION, own.encode(), standing, b"\r\n"))


def read_block(block: bytes) -> dict[str, str]:
    """Read a block of headers; names in lower case, the last of equal names counts."""
    found: dict[str, str] = {}
    for line in block.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            found[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
    return found


def read(
    subject: str,
    given: Mapping[str, str],
    data: bytes,
    *,
    sequence: int = 0,
    stored_at: datetime | None = None,
    deliveries: int = 1,
) -> Received:
    """Read a message of a lane; ``given`` are its headers.

    Raises:
        EventInvalid: the subject is none of a lane.
    """
    place = subjects.parse(subject)
    named = {name.lower(): value for name, value in given.items()}
    event = Event(
        place.source,
        place.key,
        place.type,
        data,
        unquote(named.get("ce-id", "")) or str(sequence),
        time=_instant(named.get("ce-time")),
        content_type=named.get("content-type", "application/octet-stream"),
        traceparent=named.get("traceparent"),
        baggage=named.get("baggage"),
        extensions={
            name[3:]: unquote(value) for name, value in named.items() if name.startswith("ce-") and name[3:] not in _OWN
        },
    )
    epoch = named.get(EPOCH, "0")
    return Received(
        event,
        place.sandbox,
        sequence,
        int(epoch) if epoch.isascii() and epoch.isdigit() and len(epoch) < 20 else 0,
        MIRROR in named,
        stored_at,
        deliveries,
    )


def document(received: Received) -> dict[str, Any]:
    """Return an event as CloudEvents' JSON, with what the lane knows of it."""
    event = received.event
    body: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/{event.source}",
        "type": event.type,
        "subject": event.key,
        "datacontenttype": event.content_type,
        **event.extensions,
    }
    if event.time is not None:
        body["time"] = event.time.isoformat()
    carried = {"traceparent": event.traceparent, "baggage": event.baggage}
    body |= {name: value for name, value in carried.items() if value is not None}
    body |= {"sequence": received.sequence, "epoch": received.epoch, "mirrored": received.mirrored}
    if received.stored_at is not None:
        body["stored_at"] = isoformat(received.stored_at)
    return body | _data(event)


def _data(event: Event) -> dict[str, Any]:
    media = event.content_type.partition(";")[0]
    try:
        if media == "application/json" or media.endswith("+json"):
            data = json.loads(event.data)
            # what is nested deeper no answer can hold
            return {"data": data} if _is_shallow(data) else _bytes(event)
        if media.startswith("text/"):
            return {"data": event.data.decode()}
    except (ValueError, RecursionError):
        pass
    return _bytes(event)


def _bytes(event: Event) -> dict[str, Any]:
    return {"data_base64": base64.b64encode(event.data).decode()}


def _is_shallow(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(_DEPTH):
        level = [child for each in level if isinstance(each, (dict, list)) for child in _members(each)]
        if not level:
            return True
    return False


def _members(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]


def _quoted(text: str) -> str:
    # most need nothing: to find that out with a pattern costs a fifth of asking the library
    return text if _PLAIN.fullmatch(text) is not None else quote(text, safe=_SAFE)


def _has_utf8(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in text)


def _is_field(text: str | None) -> bool:
    return text is not None and _VALUE.fullmatch(text) is not None


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
