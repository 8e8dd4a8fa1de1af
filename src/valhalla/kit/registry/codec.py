"""Between a registry's typed values and the JSON bodies that are stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from valhalla.kernel.problems import Invalid, Misconfigured
from valhalla.kit.json import dumps
from valhalla.kit.registry.contracts import Body

T = TypeVar("T", bound=msgspec.Struct)

# an escaped NUL that is not an escaped backslash before "u0000"
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Codec(Generic[T]):
    """Encodes and decodes the values of one registry."""

    def __init__(self, name: str, type_: type[T], validate: Callable[[T], None] | None) -> None:
        self._name = name
        self._type = type_
        self._validate = validate

    def encode(self, key: str, value: T) -> Body:
        """Return the body to store.

        Raises:
            Invalid: the key is empty, too long or unprintable, or the value is refused.
        """
        self.check_key(key)
        if self._validate is not None:
            self._validate(value)
        try:
            # through bytes: what is compared with the stored body must be exactly what JSON makes of the value
            raw = msgspec.json.encode(value)
            body: Any = msgspec.json.decode(raw)
            msgspec.convert(body, self._type, strict=False)
            dumps(body)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise Invalid(f"{self._name} '{key}': {error}", key=key) from error
        if _NUL.search(raw):
            raise Invalid(f"{self._name} '{key}': a text holds a NUL character", key=key)
        return body

    def check_key(self, key: str) -> None:
        """Accept a key or refuse it.

        Raises:
            Invalid: it is empty, longer than 512 characters or unprintable.
        """
        if not is_key(key):
            raise Invalid("a key has 1 to 512 printable characters", key=ascii(key[:64]))

    def decode(self, key: str, body: Mapping[str, Any]) -> T:
        """Return the value; members that this release does not know are ignored.

        Raises:
            Misconfigured: the body does not fit the type.
        """
        try:
            return msgspec.convert(body, self._type, strict=False)
        except msgspec.ValidationError as error:
            raise Misconfigured(
                f"the stored {self._name} '{key}' does not fit this release: {error}",
                help="Start the release that wrote it, or roll the registry back to an earlier revision.",
                registry=self._name,
                key=key,
            ) from error

    def recheck(self, key: str, body: Body) -> Body:
        """Return an old body that is to be stored again, if it is still valid.

        Raises:
            Invalid: it is not.
        """
        try:
            value = msgspec.convert(body, self._type, strict=False)
        except msgspec.ValidationError as error:
            raise Invalid(f"{self._name} '{key}' of then is not valid any more: {error}", key=key) from error
        if self._validate is not None:
            self._validate(value)
        return body


def is_key(key: str) -> bool:
    """Say whether ``key`` can name a record."""
    return 0 < len(key) <= 512 and key.isprintable()
