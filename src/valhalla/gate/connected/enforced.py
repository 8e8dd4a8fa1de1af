"""The rules of a control plane's blocklist as they hold in another application, and what of them cannot hold there."""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import Any, Final, NamedTuple

import msgspec

from valhalla.features.security.blocklist.contracts import FOREVER, TYPES, Condition
from valhalla.features.security.blocklist.matching import Index
from valhalla.features.security.blocklist.whence import ORIGINS, Origin
from valhalla.kernel.problems import Problem

_ASKED: Final = re.compile(r"\brequest\s*\.\s*(country|asn)\b")


class Line(msgspec.Struct, frozen=True):
    """One rule, or with ``until`` None the end of one."""

    action: str
    type: str
    value: str
    until: int | None


class Lack(NamedTuple):
    """``rules`` are not enforced here: ``what`` they need (``country``, ``asn``, ``cel``, ``rule``), ``why`` not."""

    what: str
    rules: int
    why: str


class Enforced:
    """One index, with what its rules need. ``lock`` is held while the index changes: who looks waits for one rule."""

    def __init__(self) -> None:
        self.index = Index(self._compiled)
        self.lock = threading.Lock()
        self.needed: frozenset[Origin] = frozenset()
        """What of a request's origin some rule goes by."""
        self._conditions: dict[str, Condition] = {}
        self._needs: dict[tuple[str, str, str], frozenset[Origin]] = {}
        self._unread: dict[tuple[str, str, str], str] = {}

    def apply(self, lines: list[Line]) -> None:
        """Take rules; one that this release cannot make sense of is noted, and does not stop the others."""
        for line in lines:
            rule = (line.action, line.type, line.value)
            self._needs.pop(rule, None)
            self._unread.pop(rule, None)
            try:
                self._take(line)
            except (Problem, ValueError, KeyError, ImportError) as error:
                if line.until is not None:
                    self._unread[rule] = _why(error)
        self.needed = frozenset(what for what in ORIGINS if self.rules_by(what))

    def rules_by(self, what: Origin) -> int:
        """Return how many rules go by it."""
        return sum(what in needs for needs in list(self._needs.values()))

    def unread(self) -> list[Lack]:
        """Return the rules that this release cannot make sense of."""
        unread = list(self._unread.items())
        kinds = Counter("cel" if kind == "cel" else "rule" for (_, kind, _), _ in unread)
        reasons = {"cel" if kind == "cel" else "rule": why for (_, kind, _), why in unread}
        return [Lack(what, count, reasons[what]) for what, count in sorted(kinds.items())]

    def _take(self, line: Line) -> None:
        if line.action not in ("block", "allow") or line.type not in TYPES:
            raise ValueError(f"a release that knows '{line.action} {line.type}' is needed")
        action: Any = line.action
        if line.until is None:
            with self.lock:
                self.index.remove(action, line.type, line.value)
                self._conditions.pop(line.value, None)
            return
        if line.type == "cel":
            # before the lock: the first loads the engine
            self._conditions[line.value] = _compile(line.value)
        with self.lock:
            self.index.put(action, line.type, line.value, min(line.until, FOREVER))
        if needs := _needs(line):
            self._needs[line.action, line.type, line.value] = needs

    def _compiled(self, text: str) -> Condition:
        return self._conditions[text]


def _compile(text: str) -> Condition:
    # the engine and what knows its words are loaded by who has such a rule
    from valhalla.features.security.policies import compile_rule

    return compile_rule(text)


def _needs(line: Line) -> frozenset[Origin]:
    if line.type == "cel":
        asked = set(_ASKED.findall(line.value))
        return frozenset(what for what in ORIGINS if what in asked)
    return frozenset(what for what in ORIGINS if what == line.type)


def _why(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "conditions need the package common-expression-language"
    return (error.detail if isinstance(error, Problem) else str(error))[:200]
