"""Forms: what was typed into one as the request that it stands for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast
from urllib.parse import parse_qsl

from valhalla.kernel.problems import Invalid
from valhalla.server.console.contracts import Action, Field
from valhalla.server.console.showing import pick, pretty, unpretty

_MOST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(Field):
    """An input that is sent under another name than it has here, where ``key`` names the record."""

    member: str


class Filled(NamedTuple):
    """The query and the body of a request; no body where the action has none."""

    query: dict[str, Any]
    body: Any


def read(body: bytes) -> dict[str, str]:
    """Read an urlencoded form.

    Raises:
        Invalid: it is none.
    """
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST))
    except ValueError as error:
        raise Invalid("this is no form") from error


def fill(action: Action, fields: Sequence[Field], form: Mapping[str, str], record: Mapping[str, Any]) -> Filled:
    """Return what an action sends.

    Raises:
        Invalid: something that was typed cannot be read, or is missing.
    """
    query: dict[str, Any] = {}
    body: dict[str, Any] = dict(action.body or {})
    for name, member in (action.copy or {}).items():
        body[name] = pick(record, member)
    if action.whole:
        try:
            body |= unpretty(form.get("_definition", ""))
        except (ValueError, TypeError) as error:
            raise Invalid(f"the definition is no JSON object: {error}") from error
    for field in fields:
        text = form.get(field.name, "").strip()
        if field.only is not None and form.get(field.only[0]) != field.only[1]:
            continue
        if field.input != "check" and not text:
            if field.required:
                raise Invalid(f"'{field.title}' is missing")
            continue
        value = _value(field, text)
        if field.path:
            continue
        if field.query:
            query[field.name] = "true" if value is True else value
        elif field.name == "*":
            if not isinstance(value, dict):
                raise Invalid(f"'{field.title}' is no JSON object")
            body |= cast("dict[str, Any]", value)
        elif value is not None:
            _put(body, (field.member if isinstance(field, Sent) else field.name).split("."), value)
    return Filled(query, body if _has_body(action) or body else None)


def begun(field: Field, record: Mapping[str, Any]) -> str:
    """Return a member of a record as its input holds it."""
    value = pick(record, field.name)
    if value is None or value is False:
        return ""
    match field.input:
        case "check":
            return "1"
        case "list":
            return ", ".join(map(str, value))
        case "json":
            return pretty(value)
        case "time":
            return f"{datetime.fromisoformat(str(value)).astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
        case _:
            return str(value)


def _has_body(action: Action) -> bool:
    return action.whole or action.body is not None or any(not field.query for field in action.fields)


def _put(body: dict[str, Any], steps: Sequence[str], value: Any) -> None:
    *way, last = steps
    for step in way:
        body = body.setdefault(step, {})
    body[last] = value


def _value(field: Field, text: str) -> Any:
    try:
        match field.input:
            case "check":
                return True if text else (None if field.query else False)
            case "number":
                return float(text) if "." in text else int(text)
            case "list":
                return [one.strip() for one in text.replace("\n", ",").split(",") if one.strip()]
            case "json":
                return unpretty(text)
            case "time":
                # the input has no zone; the page says that it means UTC
                return datetime.fromisoformat(text.removesuffix("Z")).isoformat() + "Z"
            case _:
                return text
    except ValueError as error:
        raise Invalid(f"'{field.title}' cannot be read: {error}") from error
