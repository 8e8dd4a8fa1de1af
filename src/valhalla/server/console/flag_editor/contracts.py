"""The targeting of a flag as a list of rules: what most flags are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

VERSION: Final = "version "
OPERATORS: Final[Mapping[str, str]] = {
    "==": "is",
    "!=": "is not",
    "in": "is one of",
    "not in": "is none of",
    "contains": "contains",
    "starts_with": "begins with",
    "ends_with": "ends with",
    ">": "is more than",
    ">=": "is at least",
    "<": "is less than",
    "<=": "is at most",
    "set": "is given",
    "unset": "is not given",
    "version =": "is version",
    "version !=": "is not version",
    "version >": "is a version after",
    "version >=": "is a version from",
    "version <": "is a version before",
    "version <=": "is a version up to",
    "version ^": "has the major version of",
    "version ~": "has the minor version of",
    "$ref": "fits the shared rule",
    "json": "fits the JsonLogic",
}
"""What a condition can ask, and how it is said."""


class Condition(NamedTuple):
    """One question about a member of the context. ``$ref`` and ``json`` have no ``attribute``."""

    attribute: str
    operator: str
    value: str


class Serve(NamedTuple):
    """What is served: a ``variant``, with ``shares`` one of several by share, and with neither the flag's default.

    ``by`` is the member of the context that a split sticks to, the targeting key if it is empty.
    """

    variant: str = ""
    shares: tuple[tuple[str, int], ...] = ()
    by: str = ""


class Rule(NamedTuple):
    """What is served to whom fits all conditions."""

    conditions: tuple[Condition, ...]
    serve: Serve


class Draft(NamedTuple):
    """A whole targeting: the first rule that fits decides."""

    rules: tuple[Rule, ...] = ()
    otherwise: Serve = Serve()
