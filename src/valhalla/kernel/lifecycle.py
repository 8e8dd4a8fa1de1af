"""A declared state machine: states and the transitions between them, as a value.

Pure; ``kit.lifecycle`` takes a transition as one guarded UPDATE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from valhalla.kernel.problems import IllegalTransition


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The states of one kind of thing and the legal steps between them.

    ``transitions`` names every state as a key; a state without successors is terminal.

    Raises:
        ValueError: a successor is not a declared state, or a state other than ``initial`` cannot be reached.
    """

    name: str
    initial: str
    transitions: Mapping[str, frozenset[str]]
    _reachable: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        states = frozenset(self.transitions)
        if self.initial not in states:
            raise ValueError(f"{self.name}: initial state {self.initial!r} is not declared")
        for state, successors in self.transitions.items():
            if unknown := successors - states:
                raise ValueError(f"{self.name}: {state!r} leads to undeclared {sorted(unknown)}")
        reached = {self.initial}
        frontier = [self.initial]
        while frontier:
            for successor in self.transitions[frontier.pop()] - reached:
                reached.add(successor)
                frontier.append(successor)
        if unreachable := states - reached:
            raise ValueError(f"{self.name}: {sorted(unreachable)} cannot be reached from {self.initial!r}")
        object.__setattr__(self, "_reachable", frozenset(reached))

    @property
    def states(self) -> frozenset[str]:
        """All declared states."""
        return self._reachable

    def legal(self, state: str) -> tuple[str, ...]:
        """Return the states that may follow ``state``, sorted."""
        return tuple(sorted(self.transitions.get(state, frozenset())))

    def is_terminal(self, state: str) -> bool:
        """Say whether nothing follows ``state``."""
        return not self.transitions[state]

    def sources(self, target: str) -> tuple[str, ...]:
        """Return the states from which ``target`` may be entered, sorted."""
        return tuple(sorted(s for s, successors in self.transitions.items() if target in successors))

    def check(self, current: str, target: str) -> None:
        """Accept the step or refuse it.

        Raises:
            IllegalTransition: the step is not declared; ``extra["legal"]`` names those that are.
        """
        if target not in self.transitions.get(current, frozenset()):
            legal = self.legal(current)
            raise IllegalTransition(
                f"a {self.name} that is {current} cannot become {target}"
                + (f"; it can become {', '.join(legal)}" if legal else "; nothing follows"),
                current=current,
                requested=target,
                legal=list(legal),
            )
