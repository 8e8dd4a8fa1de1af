"""Addresses: what is one, what is shown of it, and what belongs to production."""

from __future__ import annotations

import pytest

from valhalla.blocks.addresses import parse, refuse_production
from valhalla.blocks.errors import BadDatabase, ProductionDatabase


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana:hunter2@localhost:5432/shop",
        "postgres://ana:hunter2@localhost/shop",
        "postgresql+psycopg://ana:hunter2@localhost/shop?sslmode=require",
        "postgresql://ana@localhost/shop?password=hunter2&connect_timeout=3",
        "postgresql://:hunter2@/shop",
        "postgresql://ana:hunter2%40x@one:1,two:2/shop",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    address = parse(url)
    assert "hunter2" not in address.shown + repr(address)
    assert "hunter2" in address.url
    assert address.url.startswith("postgresql+psycopg://")
    assert address.database == "shop"


@pytest.mark.parametrize(
    "url",
    [
        "", "shop", "mysql://ana:hunter2@localhost/shop", "postgresql:/shop", "postgresql+asyncpg://ana:hunter2@h/shop",
        "postgresql://ana:hunter2@localhost:port/shop", "postgresql://ana:hun/ter2@[localhost/shop", "sqlite://",
        "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&cache=shared&uri=true", "sqlite:///a?b=c",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadDatabase) as refused:
        parse(url)
    assert "ter2" not in str(refused.value)


def test_a_file() -> None:
    assert parse("sqlite:///shop.db").database == "shop.db"
    assert parse("sqlite:////srv/data/shop.db").database == "/srv/data/shop.db"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.prod.example.com/shop", "postgresql://prod-db-1/shop", "postgresql://h/shop_production",
        "postgresql://h/PROD", "postgresql://prod_user@h/shop", "postgresql://h/shop?host=prod1.example.com",
        "postgresql:///shop?service=live", "postgresql://one,prod2/shop", "sqlite:////srv/prod/shop.db",
        "sqlite:///shop-live.db",
    ],
)  # fmt: skip
def test_what_says_that_it_is_production_is_refused(url: str) -> None:
    with pytest.raises(ProductionDatabase):
        refuse_production(parse(url), {})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/products", "postgresql://delivery.example.com/shop", "postgresql://h/reproduction_test",
        "postgresql://h/alive", "postgresql://ana:prod@h/shop", "sqlite:///shop.db",
    ],
)  # fmt: skip
def test_words_that_merely_look_like_it_are_not(url: str) -> None:
    refuse_production(parse(url), {"APP_ENV": "staging", "VALHALLA_PRODUCTION_DATABASES": " , other"})


@pytest.mark.parametrize(
    "environ",
    [
        {"APP_ENV": "production"},
        {"DJANGO_ENV": " Prod "},
        {"VALHALLA_PRODUCTION_DATABASES": "db7.example.com"},
        {"VALHALLA_PRODUCTION_DATABASES": "x, Shop"},
        {"VALHALLA_PRODUCTION_DATABASES": "db7.example.com/shop"},
    ],
)
def test_the_environment_can_mark_it(environ: dict[str, str]) -> None:
    with pytest.raises(ProductionDatabase):
        refuse_production(parse("postgresql://ana:hunter2@db7.example.com:5433/shop"), environ)
