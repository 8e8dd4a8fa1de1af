"""The order in which a snapshot's things are made: each after what it needs, whatever needs what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.sandbox.snapshots.ordering import Circle, Key, Node, ordered


def node(number: int, rank: int = 0) -> Node:
    return Node(("pg_class", number), rank, f"CREATE {number:03}")


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.data())
def test_each_comes_after_what_it_needs(ranks: list[int], data: st.DataObject) -> None:
    """Needs that go to smaller numbers only can always be met; what is no node is taken as there."""
    needs: dict[Key, set[Key]] = {}
    for number in range(len(ranks)):
        targets = data.draw(st.sets(st.integers(-3, max(0, number - 1)), max_size=4)) if number else set[int]()
        needs["pg_class", number] = {("pg_class", target) for target in targets}
    nodes = [node(number, rank) for number, rank in enumerate(ranks)]
    found = ordered(data.draw(st.permutations(nodes)), needs)
    assert sorted(found, key=lambda each: each.key) == nodes
    place = {each.key: index for index, each in enumerate(found)}
    assert all(place[need] < place[key] for key, wanted in needs.items() for need in wanted if need in place)
    # the same things give the same snapshot
    assert ordered(nodes, needs) == found


def test_the_lowest_rank_goes_first() -> None:
    first = node(3, 0)
    assert ordered([node(1, 2), node(2, 1), first], {first.key: set()})[0] == first


def test_a_circle_is_named() -> None:
    needs: dict[Key, set[Key]] = {("pg_class", 1): {("pg_class", 2)}, ("pg_class", 2): {("pg_class", 1)}}
    with pytest.raises(Circle) as refusal:
        ordered([node(1), node(2), node(3)], needs)
    assert refusal.value.statements == ["CREATE 001", "CREATE 002"]


def test_a_thing_that_needs_itself_is_no_circle() -> None:
    assert ordered([node(1)], {("pg_class", 1): {("pg_class", 1)}}) == [node(1)]
