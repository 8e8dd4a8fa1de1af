"""The tests."""

import pytest
from shop import items, place
from sqlalchemy.orm import Session


@pytest.mark.parametrize("item", ["book", "pen"])
def test_an_order_is_placed(session, item):
    place(session, item)

    assert items(session) == [item]


def test_nothing_is_left_of_it(session):
    assert items(session) == []


def test_others_see_it_after_the_commit(own_engine):
    with Session(own_engine) as one, Session(own_engine) as other:
        place(one, "book")

        assert items(other) == ["book"]
