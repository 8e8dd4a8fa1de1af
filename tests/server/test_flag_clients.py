"""Clients of flags and configuration over a real connection: ours, and stock ones of OFREP and Consul."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import uvicorn
from openfeature import api as openfeature
from openfeature.evaluation_context import EvaluationContext
from tests.server.conftest import Issue
from tests.server.plane import Plane

from valhalla.sdk.aclient import AsyncClient
from valhalla.sdk.client import Client
from valhalla.sdk.config import AsyncConfig, Config
from valhalla.sdk.errors import ValhallaError
from valhalla.sdk.flags import AsyncFlags, Flags
from valhalla.sdk.openfeature import ValhallaProvider

FLAGS = "/system/flags"
CONFIG = "/system/config"


@pytest.fixture(scope="module")
async def address(plane: Plane) -> AsyncIterator[tuple[str, int]]:
    """The plane's application on a port."""
    server = uvicorn.Server(uvicorn.Config(plane.app, port=0, lifespan="off", log_level="error", loop="none"))
    task = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[:2]
    server.should_exit = server.force_exit = True
    await task


@pytest.fixture
async def key(issue: Issue) -> str:
    """A key that may read."""
    return (await issue("follower", "flags:read", "config:read"))["key"]


async def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


async def test_flags_and_configuration_follow_in_process(
    admin: httpx.AsyncClient, address: tuple[str, int], key: str
) -> None:
    switch = {"variants": {"on": True, "off": False}, "defaultVariant": "off"}
    await admin.post(FLAGS, json={"key": "followed", **switch})
    await admin.post(FLAGS, json={"key": "untouched", **switch})
    await admin.post(CONFIG, json={"key": "followed/limit", "value": 5})
    client = Client(f"http://{address[0]}:{address[1]}", key)
    flags, config = Flags(client), Config(client)
    await asyncio.to_thread(flags.follow)
    await asyncio.to_thread(config.follow)
    provider = ValhallaProvider(flags)
    try:
        assert flags.boolean("followed", True) is False
        assert flags.boolean("nobody", True) is True
        assert flags.string("followed", "a text") == "a text"
        details = provider.resolve_boolean_details("followed", True, EvaluationContext("u", {}))
        assert (details.value, details.variant, details.reason) == (False, "off", "STATIC")
        assert provider.resolve_boolean_details("nobody", True).error_code == "FLAG_NOT_FOUND"
        assert provider.resolve_string_details("followed", "x").error_code == "TYPE_MISMATCH"
        assert (config["followed/limit"], config.read("followed/limit", 1.5), config.read("none", 7)) == (5, 5.0, 7)
        with pytest.raises(KeyError):
            config["none"]
        await admin.patch(f"{FLAGS}/followed", json={"defaultVariant": "on"})
        await admin.patch(f"{CONFIG}/followed/limit", json={"value": 6})
        await until(lambda: flags.boolean("followed", False) and config["followed/limit"] == 6)
        await asyncio.to_thread(flags.tell)
        exposed = (await admin.get(f"{FLAGS}/exposures")).json()["items"]
        [counts] = [each["variants"] for each in exposed if each["key"] == "followed"]
        assert counts["off"] >= 1
        assert counts["on"] >= 1
    finally:
        flags.close()
        config.close()


async def test_flags_and_configuration_follow_on_an_event_loop(
    admin: httpx.AsyncClient, address: tuple[str, int], key: str
) -> None:
    await admin.post(FLAGS, json={"key": "looped", "variants": {"on": True, "off": False}, "defaultVariant": "off"})
    await admin.post(CONFIG, json={"key": "looped/limit", "value": 5})
    async with AsyncClient(f"http://{address[0]}:{address[1]}", key) as client:
        with pytest.raises(ValhallaError, match="follow"):
            AsyncFlags(client).boolean("looped", False)
        async with AsyncFlags(client) as flags, AsyncConfig(client) as config:
            assert (flags.boolean("looped", True), flags.string("nobody", "x")) == (False, "x")
            assert (config["looped/limit"], config.read("looped/limit", 1.5), config.read("none", 7)) == (5, 5.0, 7)
            assert "looped/limit" in config
            await admin.patch(f"{FLAGS}/looped", json={"defaultVariant": "on"})
            await admin.patch(f"{CONFIG}/looped/limit", json={"value": 6})
            await until(lambda: flags.boolean("looped", False) and config["looped/limit"] == 6)
            await flags.tell()
        assert flags.boolean("looped", False) is True
    exposed = (await admin.get(f"{FLAGS}/exposures")).json()["items"]
    [counts] = [each["variants"] for each in exposed if each["key"] == "looped"]
    assert counts["off"] >= 1
    assert counts["on"] >= 1


@pytest.mark.slow
async def test_the_stock_ofrep_provider(admin: httpx.AsyncClient, address: tuple[str, int], key: str) -> None:
    from openfeature.contrib.provider.ofrep import OFREPProvider

    targeting = {"if": [{"==": [{"var": "plan"}, "pro"]}, "b"]}
    for name, variants in (
        ("stock-bool", {"a": False, "b": True}), ("stock-text", {"a": "x", "b": "y"}), ("stock-int", {"a": 1, "b": 2}),
        ("stock-float", {"a": 1, "b": 2.5}), ("stock-object", {"a": {}, "b": {"n": [1]}}),
    ):  # fmt: skip
        body = {"key": name, "variants": variants, "defaultVariant": "a", "targeting": targeting}
        assert (await admin.post(FLAGS, json=body)).status_code == 201
    body = {"key": "stock-off", "variants": {"a": True}, "state": "DISABLED"}
    await admin.post(FLAGS, json=body)

    def ask() -> list[Any]:
        headers = {"Authorization": f"Bearer {key}"}
        url = f"http://{address[0]}:{address[1]}"
        openfeature.set_provider_and_wait(OFREPProvider(url, headers_factory=lambda: headers))
        client = openfeature.get_client()
        pro = EvaluationContext("u1", {"plan": "pro"})
        off = client.get_boolean_details("stock-off", False, pro)
        missing = client.get_boolean_details("stock-none", True, pro)
        return [
            client.get_boolean_value("stock-bool", False, pro),
            client.get_string_value("stock-text", "", pro),
            client.get_integer_value("stock-int", 0, pro),
            client.get_float_value("stock-float", 0.0, pro),
            client.get_float_value("stock-float", 0.0, EvaluationContext("u2", {})),
            client.get_object_value("stock-object", {}, pro),
            (off.value, off.reason),
            (missing.value, missing.error_code),
        ]

    expected = [True, "y", 2, 2.5, 1.0, {"n": [1]}, (False, "DISABLED"), (True, "FLAG_NOT_FOUND")]
    assert await asyncio.to_thread(ask) == expected


@pytest.mark.slow
async def test_the_stock_consul_client(admin: httpx.AsyncClient, address: tuple[str, int], key: str) -> None:
    import consul

    await admin.post(CONFIG, json={"key": "stock/one", "value": "eins"})
    await admin.post(CONFIG, json={"key": "stock/two", "value": {"n": 2}})
    client = consul.Consul(host=address[0], port=address[1], token=key)
    index, found = await asyncio.to_thread(client.kv.get, "stock/one")
    assert found["Value"] == b"eins"
    _, pairs = await asyncio.to_thread(client.kv.get, "stock/", recurse=True)
    assert [pair["Key"] for pair in pairs] == ["stock/one", "stock/two"]
    assert (await asyncio.to_thread(client.kv.get, "stock/none"))[1] is None
    waiting = asyncio.ensure_future(asyncio.to_thread(client.kv.get, "stock/one", index=index, wait="20s"))
    await asyncio.sleep(0.2)
    await admin.patch(f"{CONFIG}/stock/one", json={"value": "uno"})
    assert (await waiting)[1]["Value"] == b"uno"
