"""Flags evaluated in this process: pure but for the clock, the standard library and msgspec alone."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from valhalla.features.operations.flags.contracts import Flag, Overlay, Resolution, Step, Targeting
from valhalla.features.operations.flags.logic import BadRuleError, Surroundings, compile_rule
from valhalla.features.operations.flags.operators import Rule

Context = Mapping[str, Any]
_CHAIN: Final = 20
_UNKNOWN: Final = Resolution("ERROR", failure="FLAG_NOT_FOUND", details="there is no such flag")
_NOTHING: Final[Context] = {}


class Phase:
    """A flag from one instant to the next: its answer, or the rule that gives it."""

    __slots__ = ("_default", "_refused", "_rule", "_variants", "fixed")

    def __init__(self, flag: Flag, now: Overlay, values: Mapping[str, Any], around: Surroundings) -> None:
        self._rule: Rule | None = None
        self._variants: dict[str, Resolution] = {
            name: Resolution("TARGETING_MATCH", value, name, found=True, metadata=flag.metadata)
            for name, value in values.items()
        }
        self._refused = Resolution("ERROR", metadata=flag.metadata, failure="GENERAL")
        self.fixed: Resolution | None = None
        self._default = _of(flag, values, now.defaultVariant, "DEFAULT")
        if flag.killed:
            self.fixed = _of(flag, values, flag.killVariant, "DISABLED")
        elif now.state == "DISABLED":
            self.fixed = Resolution("DISABLED", metadata=flag.metadata)
        elif not now.targeting:
            self.fixed = _of(flag, values, now.defaultVariant, "STATIC" if now.defaultVariant else "DEFAULT")
        else:
            try:
                self._rule = compile_rule(now.targeting, around)
            except BadRuleError as error:
                self.fixed = Resolution("ERROR", metadata=flag.metadata, failure="PARSE_ERROR", details=str(error))

    def resolve(self, context: Context) -> Resolution:
        """Return what the rule says."""
        assert self._rule is not None
        try:
            variant = self._rule(context)
        except (TypeError, ValueError, ArithmeticError, RecursionError, KeyError, IndexError, AttributeError) as error:
            return self._failed(f"the rule failed: {type(error).__name__}")
        if type(variant) is not str:
            if variant is None:
                return self._default
            variant = str(variant).lower() if isinstance(variant, bool) else str(variant)
        return self._variants.get(variant) or self._failed("the rule gives a variant that the flag does not have")

    def _failed(self, details: str) -> Resolution:
        refused = self._refused
        return Resolution("ERROR", metadata=refused.metadata, failure="GENERAL", details=details)


class Evaluated:
    """One flag of one environment, compiled; ``counts`` are its exposures by variant."""

    __slots__ = ("_at", "_now", "_phases", "counts", "fixed", "flag", "phase", "prerequisites", "version")

    def __init__(
        self,
        flag: Flag,
        version: int,
        environment: str,
        shared: Mapping[str, Targeting],
        counts: dict[str, int],
        now: Callable[[], float],
    ) -> None:
        self.flag = flag
        self.version = version
        self.counts = counts
        self.prerequisites = () if flag.killed else flag.prerequisites
        values = _values(flag)
        around = Surroundings(flag.key, flag.buckets, shared, now)
        overlays = list(phases(flag, environment))
        self._now = now
        self._at = [at for at, _ in overlays[1:]]
        self._phases = [Phase(flag, each, values, around) for _, each in overlays]
        self.phase = self._phases[0]
        # what neither time nor context nor other flags decide
        alone = not self._at and not self.prerequisites
        self.fixed = self.phase.fixed if alone else None

    def resolve(self, context: Context, among: FlagSet, depth: int) -> Resolution:
        """Return what it says now."""
        for needed in self.prerequisites:
            if depth >= _CHAIN:
                return Resolution("ERROR", failure="GENERAL", details="prerequisites follow each other too far")
            if among.resolve(needed.flag, context, depth + 1).variant not in needed.variants:
                return Resolution("DISABLED", metadata=self.flag.metadata)
        phase = self._phases[bisect_right(self._at, self._now())] if self._at else self.phase
        return phase.fixed or phase.resolve(context)


class FlagSet:
    """Every flag at one revision, in one environment. Flags are compiled when they are first asked for."""

    def __init__(
        self,
        flags: Mapping[str, tuple[Flag, int]],
        *,
        environment: str = "",
        shared: Mapping[str, Targeting] | None = None,
        revision: str = "0",
        before: FlagSet | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``flags`` with their versions by key; what ``before`` compiled and did not change is taken over."""
        self.revision = revision
        self.environment = environment
        self.shared = shared or {}
        self._flags = flags
        self._now = now
        self._timed: bool | None = None
        self.counts: dict[str, dict[str, int]] = {} if before is None else before.counts
        self._ready: dict[str, Evaluated] = {} if before is None else before.kept(self)

    def kept(self, by: FlagSet) -> dict[str, Evaluated]:
        """Return what ``by`` need not compile again."""
        if by.shared != self.shared:
            return {}
        return {
            key: one
            for key, one in self._ready.items()
            if (found := by.find(key)) is not None and found[1] == one.version
        }

    def find(self, key: str) -> tuple[Flag, int] | None:
        """Return a flag and its version."""
        return self._flags.get(key)

    def __iter__(self) -> Iterator[str]:
        """Go through the keys."""
        return iter(self._flags)

    def __len__(self) -> int:
        return len(self._flags)

    def evaluate(self, key: str, context: Context = _NOTHING) -> Resolution:
        """Evaluate and count it as an exposure. Nothing is ever raised: a failure is an answer."""
        flag = self._ready.get(key) or self._compiled(key)
        if flag is None:
            return _UNKNOWN
        found = flag.fixed or flag.resolve(context, self, 0)
        counts, variant = flag.counts, found.variant
        counts[variant] = counts.get(variant, 0) + 1
        return found

    def resolve(self, key: str, context: Context, depth: int = 0) -> Resolution:
        """Evaluate without counting."""
        flag = self._ready.get(key) or self._compiled(key)
        return _UNKNOWN if flag is None else flag.fixed or flag.resolve(context, self, depth)

    def evaluate_all(self, context: Context) -> Iterable[tuple[str, Resolution]]:
        """Evaluate every flag, in the order of their keys."""
        return [(key, self.evaluate(key, context)) for key in sorted(self._flags)]

    @property
    def timed(self) -> bool:
        """Whether answers can change without a new revision."""
        if self._timed is None:
            self._timed = any(bool(flag.schedule) or mentions(flag, "$flagd") for flag, _ in self._flags.values())
        return self._timed

    def _compiled(self, key: str) -> Evaluated | None:
        found = self._flags.get(key)
        if found is None:
            return None
        flag, version = found
        counts = self.counts.setdefault(key, {})
        made = self._ready[key] = Evaluated(flag, version, self.environment, self.shared, counts, self._now)
        return made


def phases(flag: Flag, environment: str) -> Iterable[tuple[float, Overlay]]:
    """Return what holds from which instant on, in order; the first from ever on."""
    now = _over(Overlay(flag.state, flag.defaultVariant, flag.targeting), flag.environments.get(environment))
    yield 0.0, now
    for step in sorted(flag.schedule, key=lambda step: step.at):
        if step.environment in (None, environment):
            now = _over(now, step)
            yield step.at.timestamp(), now


def mentions(flag: Flag, name: str) -> bool:
    """Say whether a rule of the flag reads a member of the context (a shared rule may read anything)."""
    rules = [flag.targeting, *(o.targeting for o in flag.environments.values()), *(s.targeting for s in flag.schedule)]
    return any(_reads(rule, name) for rule in rules if rule)


def _reads(rule: Any, name: str) -> bool:
    if isinstance(rule, list):
        return any(_reads(each, name) for each in rule)  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(rule, dict):
        return False
    members: dict[str, Any] = rule  # pyright: ignore[reportUnknownVariableType]
    if "$ref" in members:
        return True
    given = members.get("var")
    path: Any = given[0] if isinstance(given, list) and given else given  # pyright: ignore[reportUnknownVariableType]
    if isinstance(path, str) and (path == name or path.startswith(name + ".")):
        # every split reads $flagd.flagKey, which no time changes
        return path != "$flagd.flagKey"
    return isinstance(path, dict) or any(_reads(each, name) for each in members.values())


def _over(base: Overlay, other: Overlay | Step | None) -> Overlay:
    if other is None:
        return base
    return Overlay(
        other.state or base.state,
        base.defaultVariant if other.defaultVariant is None else other.defaultVariant,
        base.targeting if other.targeting is None else other.targeting,
    )


def _values(flag: Flag) -> dict[str, Any]:
    """Return the variants as they are served: of numbers either all are floats or none is."""
    values = flag.variants
    if any(type(value) is float for value in values.values()):
        return {name: float(value) for name, value in values.items()}
    return values


def _of(flag: Flag, values: Mapping[str, Any], variant: str | None, reason: Any) -> Resolution:
    if variant is None:
        return Resolution(reason, metadata=flag.metadata)
    if variant not in values:
        details = "the default variant is not among the variants"
        return Resolution("ERROR", metadata=flag.metadata, failure="GENERAL", details=details)
    return Resolution(reason, values[variant], variant, found=True, metadata=flag.metadata)
