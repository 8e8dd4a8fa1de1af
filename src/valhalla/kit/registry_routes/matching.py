"""Preconditions of a request (RFC 9110 section 13) against the version of a record. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from valhalla.kernel.problems import Invalid, PreconditionFailed
from valhalla.kit.registry_routes.errors import PreconditionRequired

_TAGS: Final = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*)*')
_TAG: Final = re.compile(r'(W/)?"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Conditions:
    """What ``If-Match`` and ``If-None-Match`` said; ``None`` for a header that was not sent."""

    match: str | None = None
    none_match: str | None = None

    def require(self, key: str, version: int | None, *, needed: bool = False) -> None:
        """Accept a write to the record of this version (``None``: there is no record), or refuse it.

        Raises:
            PreconditionFailed: it is another version than was named, or exists and must not.
            PreconditionRequired: ``needed`` and none was sent.
            Invalid: a header holds no entity tags.
        """
        if self.match is None and self.none_match is None:
            if needed:
                raise PreconditionRequired(key=key)
            return
        if self.match is not None and (version is None or not _names(self.match, version, weak=False)):
            found = "does not exist" if version is None else f"is at version {version}"
            raise PreconditionFailed(f"'{key}' {found}, If-Match named another", key=key, version=version)
        if self.none_match is not None and version is not None and _names(self.none_match, version, weak=True):
            raise PreconditionFailed(f"'{key}' is at version {version}", key=key, version=version)

    def unchanged(self, version: int) -> bool:
        """Say whether a reader already has this version.

        Raises:
            Invalid: the header holds no entity tags.
        """
        return self.none_match is not None and _names(self.none_match, version, weak=True)


def _names(header: str, version: int, *, weak: bool) -> bool:
    if header.strip() == "*":
        return True
    if len(header) > 1000 or _TAGS.fullmatch(header) is None:
        raise Invalid(
            "If-Match and If-None-Match hold '*' or entity tags in double quotes",
            help='Send the ETag of the record as it came, quotes included: If-Match: "7".',
        )
    return any(tag == str(version) and (weak or not soft) for soft, tag in _TAG.findall(header))
