"""Irreversible actions need a server that keeps what it acknowledges; the refusal says which setting is missing."""

from __future__ import annotations

import pytest
from redis import Redis
from tests.guard.stores.valkey.asking import PRINT, beginning
from tests.guard.stores.valkey.conftest import Make

from valhalla.guard import Guard
from valhalla.guard.contracts import Began, CasRequest, Effect, Hold, Step, Verdict
from valhalla.guard.errors import StoreRefuses


@pytest.mark.parametrize(
    ("setting", "value", "back"),
    [("appendfsync", "everysec", "always"), ("appendonly", "no", "yes")],
)
def test_a_forgetful_server_gets_no_irreversible_action(
    make: Make, server: Redis, setting: str, value: str, back: str
) -> None:
    server.config_set(setting, value)
    ran: list[str] = []
    guard = Guard(make())

    @guard.action("pay", key="order")
    def pay(order: str) -> None:
        ran.append(order)

    @guard.action("look", effect="idempotent", key="order")
    def look(order: str) -> str:
        return order

    try:
        with pytest.raises(StoreRefuses, match=setting) as refusal:
            pay("o-1")
        assert "appendfsync always" in refusal.value.advice
        assert look("o-1") == "o-1"
    finally:
        server.config_set(setting, back)
    assert ran == []
    pay("o-1")
    assert ran == ["o-1"]


def test_a_server_that_drops_keys_to_make_room_is_refused(make: Make, server: Redis) -> None:
    server.config_set("maxmemory", "1gb")
    server.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreRefuses, match="allkeys-lru"):
            make().begin(beginning())
    finally:
        server.config_set("maxmemory", "0")
        server.config_set("maxmemory-policy", "noeviction")


def test_where_config_is_not_allowed_the_operator_must_vouch(make: Make, url: str, server: Redis) -> None:
    server.execute_command("ACL SETUSER plain reset on >word ~* +@all -config")
    login = url.replace(url.partition("//")[2].partition("@")[0], "plain:word")
    try:
        with pytest.raises(StoreRefuses, match="NOPERM"):
            make(login).begin(beginning())
        assert make(login).begin(beginning(effect=Effect.IDEMPOTENT, key="other")).kind is Began.EXECUTE
        assert make(login, durability="trusted").begin(beginning()).kind is Began.EXECUTE
    finally:
        server.execute_command("ACL DELUSER plain")


async def test_event_loops_are_refused_too(make: Make, server: Redis) -> None:
    server.config_set("appendfsync", "everysec")
    with pytest.raises(StoreRefuses, match="everysec"):
        await make().abegin(beginning())


def test_an_approved_action_is_not_dispatched_on_a_server_that_became_forgetful(make: Make, server: Redis) -> None:
    hold = Hold((Step(1),), 60.0, 5, b"\x00\xff")
    held = make().begin(beginning(verdict=Verdict.HOLD, hold=hold)).record
    assert held is not None
    store = make()
    store.cas(CasRequest(held.id, frozenset({"held"}), "approved", "approved", "bo"))
    server.config_set("appendfsync", "everysec")
    dispatch = CasRequest(held.id, frozenset({"approved"}), "executing", "dispatch", "ada", lease=60.0)
    with pytest.raises(StoreRefuses):
        store.cas(dispatch)
    server.config_set("appendfsync", "always")
    taken = store.cas(dispatch)
    assert taken.done
    assert taken.record is not None
    assert (taken.record.payload, taken.record.fingerprint) == (b"\x00\xff", PRINT)
    assert taken.record.quorum == (Step(1),)
