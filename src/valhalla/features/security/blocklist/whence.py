"""Where a request comes from, as far as a trusted proxy says so in headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Origin = Literal["country", "asn"]
ORIGINS: Final[tuple[Origin, ...]] = ("country", "asn")


class Whence:
    """``country`` and ``asn`` name the headers in which trusted proxies say where from; ``None``: they do not."""

    __slots__ = ("_names", "names")

    def __init__(self, country: str | None = None, asn: str | None = None) -> None:
        self.names: Mapping[Origin, str | None] = {"country": country or None, "asn": asn or None}
        self._names = {what: name.lower().encode() for what, name in self.names.items() if name is not None}

    def bears(self, what: Origin, headers: Mapping[bytes, bytes]) -> bool:
        """Say whether a proxy said something, known or not."""
        return self._names.get(what, b"") in headers

    def country(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return two letters in upper case, None for what is not known."""
        value = self._text("country", headers)
        return value if len(value) == 2 and value.isalpha() else None

    def asn(self, headers: Mapping[bytes, bytes]) -> int | None:
        """Return the number of the network's operator, None for what is not known."""
        value = self._text("asn", headers).removeprefix("AS")
        return int(value) if len(value) <= 10 and value.isascii() and value.isdigit() else None

    def _text(self, what: Origin, headers: Mapping[bytes, bytes]) -> str:
        name = self._names.get(what)
        return "" if name is None else headers.get(name, b"").decode("latin-1").strip().upper()
