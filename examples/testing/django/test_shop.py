"""The tests."""

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.test import TestCase
from shop.models import Order


@pytest.mark.django_db
@pytest.mark.parametrize("turn", [1, 2])
def test_an_order_is_stored_and_rolled_back(turn):
    Order.objects.create(item="book")

    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_runs_after_a_commit():
    told = []
    with transaction.atomic():
        Order.objects.create(item="pen")
        transaction.on_commit(lambda: told.append("pen"))

    assert told == ["pen"]


def test_a_database_of_its_own(own_database):
    Order.objects.create(item="book")

    # another connection sees it: it was committed
    with psycopg.connect(own_database.database_url) as other:
        assert other.execute("SELECT item FROM shop_order").fetchall() == [("book",)]


class OrderTests(TestCase):
    """Django's own test case."""

    def test_an_item_is_ordered_once(self):
        Order.objects.create(item="book")
        with pytest.raises(IntegrityError), transaction.atomic():
            Order.objects.create(item="book")
        assert Order.objects.count() == 1
        assert connection.settings_dict["USER"].startswith("sbx_")
