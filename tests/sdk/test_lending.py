"""A sandbox for the length of a block, against real servers: usable inside, gone afterwards, whatever ended it."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nats
import psycopg
import pytest
import redis
from tests.cli.fake_plane import KEY, FakePlane, problem

from valhalla import ApiProblem, Client, OpenSandbox, ValhallaError
from valhalla.sdk.access import Connection
from valhalla.sdk.models import Sandbox


def ended_by_itself(client: Client, sandbox_id: str) -> bool:
    return client.get(sandbox_id).status in {"destroying", "destroyed"}


async def test_every_address_is_ready(client: Client) -> None:
    with client.sandbox(ttl="10m", template="empty", tags=["mine"]) as sbx:
        with psycopg.connect(sbx.database_url) as postgres:
            assert postgres.execute("SELECT current_schema()").fetchone() == (sbx.schema,)
        with redis.Redis.from_url(sbx.redis_url) as valkey:
            assert valkey.set(f"{sbx.valkey_prefix}k", "v")
        bus = await nats.connect(sbx.nats_url, user_credentials=str(sbx.nats_creds_file))
        heard = await bus.subscribe(f"{sbx.nats_prefix}a")
        await bus.publish(f"{sbx.nats_prefix}a", b"x")
        assert (await heard.next_msg(2)).data == b"x"
        await bus.close()
        file = sbx.nats_creds_file
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_text() == sbx.nats_creds
        assert sbx.env.items() >= {"DATABASE_URL": sbx.database_url, "NATS_CREDS": str(file)}.items()
        assert sbx.info.tags == ("mine",)

    assert not file.parent.exists()
    assert ended_by_itself(client, sbx.id)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(sbx.database_url)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_blocks_own_exception_comes_out_and_the_sandbox_is_gone(client: Client, kind: type[BaseException]) -> None:
    error = kind("mine")

    with pytest.raises(kind) as caught, client.sandbox(template="empty") as sbx:
        raise error

    assert caught.value is error
    assert ended_by_itself(client, sbx.id)


def test_ctrl_c_while_the_answer_is_on_its_way_leaves_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = client._transport.exchange
    made: list[str] = []

    def interrupted(request: Any) -> Any:
        document = exchange(request)
        if request.method == "POST" and not made:
            made.append(document["id"])
            raise KeyboardInterrupt
        return document

    monkeypatch.setattr(client._transport, "exchange", interrupted)

    with pytest.raises(KeyboardInterrupt), client.sandbox(template="empty"):
        pytest.fail("the block must not run")

    assert ended_by_itself(client, made[0])


def test_somebody_else_may_destroy_it_first(client: Client) -> None:
    with client.sandbox(template="empty") as sbx:
        client.destroy(sbx.id, wait=10)

    assert client.get(sbx.id).status == "destroyed"


def test_a_failing_destroy_masks_nothing(fake: FakePlane) -> None:
    with Client(fake.url, KEY) as client:
        with pytest.raises(ValueError, match="mine") as caught, client.sandbox("a"):  # noqa: PT012 - what is tested
            fake.script = [problem(500, "internal", "it broke")]
            raise ValueError("mine")
        assert "a was not destroyed (it broke)" in caught.value.__notes__[0]

        with pytest.raises(ApiProblem, match="it broke"), client.sandbox("b"):
            fake.script = [problem(500, "internal", "it broke")]


def test_threads_share_the_connections_of_a_client(fake: FakePlane) -> None:
    accepted: list[Any] = []
    finish = fake._server.finish_request
    fake._server.finish_request = lambda request, address: (accepted.append(address), finish(request, address))  # type: ignore[method-assign]
    meet = threading.Barrier(8)

    def live(number: int) -> str:
        meet.wait()
        for turn in range(5):
            with client.sandbox(f"s{number}-{turn}") as sbx:
                assert sbx.name == f"s{number}-{turn}"
        return sbx.id

    with Client(fake.url, KEY) as client, ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(live, range(8)))) == 8

    assert len(fake.seen) == 80
    assert len(accepted) <= 8


def test_no_secret_is_shown(client: Client) -> None:
    with client.sandbox(template="empty") as sbx:
        access = sbx.connection
        assert access.postgres is not None
        assert access.valkey is not None
        shown = "".join([repr(client), repr(client.endpoint), repr(sbx), repr(sbx.info), repr(access), str(sbx)])
        for secret in (access.postgres.password, access.valkey.password, sbx.nats_creds, client.endpoint.api_key):
            assert secret
            assert secret not in shown


def test_a_slice_that_is_not_there() -> None:
    sandbox = OpenSandbox(Sandbox(id="s", name="s", owner="o", status="running"), Connection(env={"A": "1"}))

    with pytest.raises(ValhallaError, match="no valkey slice"):
        _ = sandbox.redis_url
    assert sandbox.env == {"A": "1"}


def test_a_misspelt_argument(fake: FakePlane) -> None:
    with Client(fake.url, KEY) as client, pytest.raises(TypeError, match="'tll'"):
        client.sandbox(tll="1h")  # type: ignore[call-arg]

    assert fake.seen == []
