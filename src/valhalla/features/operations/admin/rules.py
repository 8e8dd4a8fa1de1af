"""Pure: are the arguments those of the schema, and which keys end soon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import jsonschema_rs

from valhalla.features.operations.clients.contracts import ApiClient
from valhalla.kernel.problems import Invalid
from valhalla.kit.json import dumps_text


@lru_cache(maxsize=200)
def _validator(schema: str) -> Any:
    return jsonschema_rs.validator_for(schema)


def check_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Accept arguments that fit a schema.

    Raises:
        Invalid: they do not; each error has its pointer, and no value is repeated.
    """
    errors = [
        {
            "in": "body",
            "pointer": "".join(f"/{part}" for part in ("arguments", *error.instance_path)),
            "detail": _detail(error),
        }
        for error in _validator(dumps_text(schema)).iter_errors(dict(arguments))
    ]
    if errors:
        raise Invalid(f"{errors[0]['pointer']}: {errors[0]['detail']}", errors=errors[:20])


def _detail(error: Any) -> str:
    # the message of the library begins with the value that was sent
    kind = type(error.kind).__name__.removeprefix("ValidationErrorKind_").lower()
    place = "/".join(str(part) for part in error.schema_path)
    return f"does not fit the schema at {place or kind}"[:300]


def ending(clients: Iterable[ApiClient], now: datetime, within: timedelta) -> list[ApiClient]:
    """Return the active clients whose keys end within a time, the first to end first."""
    soon = [
        one for one in clients if one.active and one.expires_at is not None and now < one.expires_at <= now + within
    ]
    return sorted(soon, key=lambda one: (one.expires_at or now, one.id))
