"""Matchers of silences and filters: the labels of an alert against RE2 expressions, in linear time.

Python's own ``re`` can be kept busy for hours by an expression of thirty characters; pydantic's engine cannot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
from pydantic_core import SchemaError, SchemaValidator, core_schema

from valhalla.features.observability.alerts.contracts import Alert, Matcher, Silence
from valhalla.features.observability.alerts.errors import BadMatcher

_LONGEST: Final = 1000
_MOST: Final = 50
_WRITTEN: Final = re.compile(r'\s*("(?:[^"\\]|\\.)+"|[^\s"=!~]+)\s*(=~|!~|!=|=)\s*(.*?)\s*', re.DOTALL)


class Condition:
    """A matcher, compiled."""

    __slots__ = ("_regex", "matcher")

    def __init__(self, matcher: Matcher) -> None:
        """Compile.

        Raises:
            BadMatcher: the expression is none, or something is too long.
        """
        if not 0 < len(matcher.name) <= _LONGEST or len(matcher.value) > _LONGEST:
            raise BadMatcher(f"a matcher's name has 1 to {_LONGEST} characters, its value {_LONGEST} at most")
        self.matcher = matcher
        self._regex: SchemaValidator | None = None
        if matcher.regex:
            schema = core_schema.str_schema(pattern=f"^(?s:{matcher.value})$", regex_engine="rust-regex")
            try:
                self._regex = SchemaValidator(schema)
            except SchemaError as error:
                raise BadMatcher(f"{matcher.value[:80]!r} is no RE2 expression", matcher=matcher.name[:80]) from error

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Say whether labels fit; one that is absent is the empty text."""
        value = labels.get(self.matcher.name, "")
        same = value == self.matcher.value if self._regex is None else self._regex.isinstance_python(value)
        return same == self.matcher.equal


def compiled(matchers: Iterable[Matcher]) -> tuple[Condition, ...]:
    """Return conditions that an alert must fit all of.

    Raises:
        BadMatcher: one is none, or there are too many.
    """
    conditions = tuple(Condition(matcher) for matcher in matchers)
    if len(conditions) > _MOST:
        raise BadMatcher(f"there are {_MOST} matchers at most")
    return conditions


def check_matchers(matchers: Sequence[Matcher]) -> None:
    """Accept the matchers of a silence or refuse them.

    Raises:
        BadMatcher: one is none, or all of them fit an alert without labels: that would silence everything.
    """
    if all(condition.holds({}) for condition in compiled(matchers)):
        raise BadMatcher("at least one matcher must ask for something that not every alert has")


def read_matcher(text: str) -> Matcher:
    """Read ``name="value"``, also with ``!=``, ``=~`` and ``!~`` and without quotes.

    Raises:
        BadMatcher: it is not written like that.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise BadMatcher(f"{text[:80]!r} is no matcher")
    name, operator, value = found.groups()
    matcher = Matcher(_unquoted(name), _unquoted(value), regex="~" in operator, equal="!" not in operator)
    Condition(matcher)
    return matcher


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogatepass"), type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMatcher(f"{text[:80]!r} is no quoted text") from error


def labels_of(alert: Alert) -> dict[str, str]:
    """Return an alert's labels as others know it by; its own go before those that every alert has."""
    return {"alertname": alert.name, "severity": alert.severity, "source": alert.source, **alert.labels}


def seen(alert: Alert) -> dict[str, str]:
    """Return what matchers see of an alert."""
    return {**labels_of(alert), "fingerprint": alert.fingerprint}


class Silences:
    """The silences of one moment, compiled once."""

    def __init__(self, silences: Iterable[Silence]) -> None:
        self._each = [(one, compiled(one.matchers)) for one in silences]

    def over(self, alert: Alert, now: datetime) -> tuple[str, ...]:
        """Return the ids of the silences that an alert is under."""
        active = [each for each in self._each if each[0].starts_at <= now < each[0].ends_at]
        if not active:
            return ()
        labels = seen(alert)
        return tuple(one.id for one, conditions in active if all(each.holds(labels) for each in conditions))


def state_of(silence: Silence, now: datetime) -> str:
    """Return ``pending``, ``active`` or ``expired``."""
    if now >= silence.ends_at:
        return "expired"
    return "pending" if now < silence.starts_at else "active"
