"""The pure state machine, for any declaration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.kernel.lifecycle import Lifecycle
from valhalla.kernel.problems import IllegalTransition

states = st.sampled_from("abcdef")
declarations = st.dictionaries(states, st.frozensets(states), min_size=1)


def _make(transitions: dict[str, frozenset[str]]) -> Lifecycle | None:
    try:
        return Lifecycle("thing", "a", transitions)
    except ValueError:
        return None


@given(declarations)
def test_a_declaration_is_closed_and_connected_or_refused(transitions: dict[str, frozenset[str]]) -> None:
    """What is accepted has every state declared and reachable."""
    machine = _make(transitions)
    reachable, frontier = {"a"}, ["a"]
    while frontier:
        for successor in transitions.get(frontier.pop(), frozenset()) - reachable:
            reachable.add(successor)
            frontier.append(successor)
    sound = "a" in transitions and reachable == set(transitions)
    assert (machine is not None) == sound


@given(declarations, states, states)
def test_check_agrees_with_the_declaration(transitions: dict[str, frozenset[str]], here: str, there: str) -> None:
    """Legal steps pass, all others name the legal ones; sources is the inverse of legal."""
    machine = _make(transitions)
    if machine is None:
        return
    legal = there in transitions.get(here, frozenset())
    if legal:
        machine.check(here, there)
    else:
        with pytest.raises(IllegalTransition) as refused:
            machine.check(here, there)
        assert refused.value.extra["legal"] == sorted(transitions.get(here, ()))
    assert (here in machine.sources(there)) == legal
    assert machine.states == frozenset(transitions)
    if here in transitions:
        assert machine.is_terminal(here) == (not machine.legal(here))
