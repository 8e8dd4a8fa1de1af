"""What sensors send, as events of ours: their own JSON, that of OpenCanary's webhook and Cowrie's lines. Pure.

A reader returns ``None`` for what says nothing of anybody (a sensor that starts, a log that was closed).
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast
from urllib.parse import parse_qs

import msgspec

from valhalla.features.security.honeypots.contracts import Kind
from valhalla.features.security.honeypots.errors import BadEvent
from valhalla.kit.redact import redact

_SERVICE: Final = 40
_PAYLOAD: Final = 8_192
# logtype by thousands; those below 2000 are of the sensor itself
_OPENCANARY: Final[Mapping[int, tuple[str, Kind]]] = {
    2: ("ftp", "auth_attempt"),
    3: ("http", "connection"),
    4: ("ssh", "auth_attempt"),
    5: ("smb", "file"),
    6: ("telnet", "auth_attempt"),
    7: ("http-proxy", "auth_attempt"),
    8: ("mysql", "auth_attempt"),
    9: ("mssql", "auth_attempt"),
    10: ("tftp", "file"),
    11: ("ntp", "exploitation"),
    12: ("vnc", "auth_attempt"),
    13: ("snmp", "scan"),
    14: ("rdp", "auth_attempt"),
    15: ("sip", "scan"),
    16: ("git", "connection"),
    17: ("redis", "command"),
    18: ("tcp", "connection"),
}
_OPENCANARY_EXACT: Final[Mapping[int, tuple[str, Kind]]] = {
    3001: ("http", "auth_attempt"),
    4000: ("ssh", "connection"),
    4001: ("ssh", "connection"),
    5001: ("portscan", "scan"),
    5002: ("portscan", "scan"),
    5003: ("portscan", "scan"),
    5004: ("portscan", "scan"),
    5005: ("portscan", "scan"),
}
_COWRIE: Final[Mapping[str, Kind]] = {
    "cowrie.session.connect": "connection",
    "cowrie.client.version": "connection",
    "cowrie.login.failed": "auth_attempt",
    "cowrie.login.success": "auth_success",
    "cowrie.command.input": "command",
    "cowrie.command.failed": "command",
    "cowrie.session.file_download": "file",
    "cowrie.session.file_upload": "file",
    "cowrie.direct-tcpip.request": "exploitation",
}


class Read(NamedTuple):
    """An event as it was read; ``identity`` is what makes two of them the same."""

    at: datetime
    identity: str
    kind: Kind
    service: str
    address: str | None
    payload: Mapping[str, Any]


def opencanary(sent: object) -> Read | None:
    """Read what OpenCanary's webhook sends: the event itself, or the event as text under ``message``.

    Raises:
        BadEvent: it is neither.
    """
    event = _opened(sent)
    number = event.get("logtype")
    if not isinstance(number, int) or isinstance(number, bool):
        raise BadEvent("an OpenCanary event has a 'logtype'")
    service, kind = _OPENCANARY_EXACT.get(number) or _OPENCANARY.get(number // 1000) or ("other", "other")
    if number < 2000:
        return None
    at = _instant(event.get("utc_time") or event.get("local_time"))
    # -1 and "" stand for what is not known
    address = address_of(event.get("src_host"))
    return Read(at, identity_of(event), kind, service, address, payload(event))


def cowrie(sent: object) -> Read | None:
    """Read one line of Cowrie's JSON log.

    Raises:
        BadEvent: it is none.
    """
    event = _object(sent)
    eventid = event.get("eventid")
    if not isinstance(eventid, str):
        raise BadEvent("a Cowrie event has an 'eventid'")
    kind = _COWRIE.get(eventid)
    if kind is None:
        return None
    protocol = event.get("protocol")
    service = protocol[:_SERVICE] if isinstance(protocol, str) and protocol else "ssh"
    return Read(
        _instant(event.get("timestamp")),
        identity_of(event),
        kind,
        service,
        address_of(event.get("src_ip")),
        payload(event),
    )


def lines(body: bytes, most: int) -> list[object]:
    """Return the documents of JSON lines, or of one array.

    Raises:
        BadEvent: a line is no JSON, or there are more than ``most``.
    """
    try:
        if body.lstrip()[:1] == b"[":
            found = msgspec.json.decode(body, type=list[Any])
        else:
            found = [msgspec.json.decode(line) for line in body.splitlines() if line.strip()]
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError) as error:
        raise BadEvent(f"a line is no JSON: {str(error)[:100]}") from error
    if not 0 < len(found) <= most:
        raise BadEvent(f"a batch has 1 to {most} events")
    return found


def webhook(body: bytes, most: int) -> list[object]:
    """Return the documents of a webhook: JSON, or a form whose ``message`` is JSON (OpenCanary's default).

    Raises:
        BadEvent: it is neither, or there are more than ``most``.
    """
    if body.lstrip()[:1] in (b"{", b"["):
        return lines(body, most)
    try:
        message = parse_qs(body.decode("ascii"), max_num_fields=20).get("message", [])
    except ValueError as error:
        raise BadEvent("send JSON, or a form with a 'message'") from error
    return lines("\n".join(message).encode(), most)


def payload(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is kept of an event: without secrets, and of bounded size."""
    shown: Any = redact(event)
    text = json.dumps(shown)
    return shown if len(text) <= _PAYLOAD else {"truncated": True, "text": text[: _PAYLOAD // 2]}


def _opened(sent: object) -> Mapping[str, Any]:
    event = _object(sent)
    inner = event.get("message")
    if "logtype" in event or inner is None:
        return event
    if isinstance(inner, str):
        try:
            inner = msgspec.json.decode(inner)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadEvent("'message' is no JSON") from error
    return _object(inner)


def _object(sent: object) -> Mapping[str, Any]:
    if not isinstance(sent, dict):
        raise BadEvent("an event is a JSON object")
    return cast("Mapping[str, Any]", sent)


def identity_of(event: Mapping[str, Any]) -> str:
    """Return what is the same for equal documents, in whatever order their members come."""
    return hashlib.sha256(msgspec.json.encode(event, order="deterministic")).hexdigest()


def address_of(value: object) -> str | None:
    """Return an address in one form, None for what is none."""
    try:
        found = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return None if found is None or found.is_unspecified else str(found)


def _instant(value: object) -> datetime:
    """Return an instant; one without an offset is UTC, as both sensors write it.

    Raises:
        BadEvent: there is none. One made up here would make a replay look new.
    """
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        if at is not None:
            return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BadEvent("it has no instant in ISO 8601")
