"""Every policy of one snapshot, compiled once and found by the path that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from valhalla.features.security.policies.conditions import Condition, functions_of
from valhalla.features.security.policies.contracts import MODES, Mode, On, Policy
from valhalla.features.security.policies.engine import cel
from valhalla.features.security.policies.errors import BadCondition
from valhalla.features.security.policies.reading import flat

_REMEMBERED: Final = 2_048


class Compiled(NamedTuple):
    """One policy with its condition; ``exact`` and ``below`` are what its paths are."""

    policy: Policy
    condition: Condition
    exact: frozenset[str]
    below: tuple[str, ...]

    def covers(self, path: str) -> bool:
        """Say whether a path is one of the policy's."""
        return path in self.exact or path.startswith(self.below)


class Wanted(NamedTuple):
    """One value that conditions ask for: what the engine calls it, and whose member it is."""

    flat: str
    variable: str
    member: str


class Candidates(NamedTuple):
    """Those that a path may concern, in their order, and the values and functions that they ask for."""

    policies: tuple[Compiled, ...]
    anyway: tuple[Compiled, ...]
    """Those of them that can hold for somebody of whom nothing is counted."""
    wanted: tuple[Wanted, ...]
    functions: dict[str, Callable[..., Any]] | None

    def context(self, values: dict[str, Any]) -> cel.Context:
        """Return what they are asked in."""
        return cel.Context(values) if self.functions is None else cel.Context(values, self.functions)


NOBODY: Final = Candidates((), (), (), None)


class Book:
    """The enabled policies. ``broken`` are those of which this release cannot make sense; they never match."""

    def __init__(self, policies: Iterable[Policy], before: Book | None = None) -> None:
        """Compile; conditions that were compiled ``before`` are not compiled again."""
        kept = {} if before is None else before._conditions
        self._conditions: dict[tuple[str, On], Condition] = {}
        self.broken: dict[str, str] = {}
        ordered: list[Compiled] = []
        for policy in sorted(policies, key=lambda one: (-one.priority, one.name)):
            if not policy.enabled:
                continue
            key = (policy.when, policy.on)
            try:
                condition = self._conditions.get(key) or kept.get(key) or Condition(*key)
            except BadCondition as problem:
                self.broken[policy.name] = problem.detail
                continue
            self._conditions[key] = condition
            ordered.append(compiled(policy, condition))
        self._tables = {
            mode: _Table([one for one in ordered if one.policy.on == "request" and mode in one.policy.modes])
            for mode in MODES
        }
        caught = [one for one in ordered if one.policy.on == "honeypot"]
        self._caught = {mode: together([one for one in caught if mode in one.policy.modes]) for mode in MODES}
        self.size = len(ordered)

    def on_request(self, path: str, mode: Mode) -> Candidates:
        """Return those that may concern a path."""
        return self._tables[mode].find(path)

    def on_honeypot(self, mode: Mode) -> Candidates:
        """Return those that judge what honeypots catch."""
        return self._caught[mode]


class _Table:
    """Policies by the segments that their paths begin with: a path asks a few dictionaries, not every policy."""

    def __init__(self, ordered: list[Compiled]) -> None:
        self._ranks = {id(one): rank for rank, one in enumerate(ordered)}
        self._under: dict[str, list[Compiled]] = {}
        for one in ordered:
            # a policy without paths is one for all that begin with nothing
            for path in {*one.exact, *(_base(prefix) for prefix in one.below)}:
                self._under.setdefault(path, []).append(one)
        self._known: dict[str, Candidates] = {}

    def find(self, path: str) -> Candidates:
        if not self._under:
            return NOBODY
        known = self._known.get(path)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                # who scans makes up paths without end
                self._known.clear()
            known = self._known[path] = self._look(path)
        return known

    def _look(self, path: str) -> Candidates:
        found: dict[int, Compiled] = {}
        for base in _bases(path):
            for one in self._under.get(base, ()):
                if one.covers(path):
                    found[self._ranks[id(one)]] = one
        return together([found[rank] for rank in sorted(found)])


def compiled(policy: Policy, condition: Condition) -> Compiled:
    """Return a policy that can be asked."""
    below = tuple(path[:-1] for path in policy.paths if path.endswith("*")) if policy.paths else ("",)
    return Compiled(policy, condition, frozenset(path for path in policy.paths if not path.endswith("*")), below)


def together(policies: list[Compiled]) -> Candidates:
    """Return policies with what they ask for together."""
    wanted: dict[str, Wanted] = {}
    for one in policies:
        for name, members in one.condition.members.items():
            if members is None:
                wanted[name] = Wanted(name, name, "")
                continue
            for member in members:
                wanted[flat(name, member)] = Wanted(flat(name, member), name, member)
    functions = functions_of(one.condition for one in policies)
    anyway = tuple(one for one in policies if not one.condition.counted)
    return Candidates(tuple(policies), anyway, tuple(wanted.values()), functions)


def _base(prefix: str) -> str:
    """Return the whole segments of a prefix: ``/api/`` of ``/api/sand``."""
    return prefix[: prefix.rfind("/") + 1]


def _bases(path: str) -> Iterable[str]:
    yield ""
    at = path.find("/")
    while at >= 0:
        yield path[: at + 1]
        at = path.find("/", at + 1)
    if not path.endswith("/"):
        yield path
