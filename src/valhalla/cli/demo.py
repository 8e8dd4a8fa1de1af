"""The story of ``valhalla demo``: one sandbox from its birth to its end, each claim shown on the real servers.

It runs in a data directory of its own, which is gone afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

from valhalla.cli.detached import Started, start
from valhalla.cli.failures import Refusal
from valhalla.cli.invocation import Invocation
from valhalla.cli.output import emit, paint, say
from valhalla.cli.serving import Serving
from valhalla.sdk import Client
from valhalla.sdk.models import Sandbox


class Story:
    """Tells each step with its time; a step that fails ends the story."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self.steps: list[dict[str, Any]] = []
        self._began = time.monotonic()

    @contextlib.contextmanager
    def step(self, text: str) -> Generator[list[str]]:
        """Time one step; what is appended to the list is shown behind it."""
        started = time.monotonic()
        remarks: list[str] = []
        try:
            yield remarks
        except BaseException:
            self._tell("failed", text, started, remarks)
            raise
        self._tell("ok", text, started, remarks)

    def _tell(self, state: str, text: str, started: float, remarks: list[str]) -> None:
        milliseconds = (time.monotonic() - started) * 1000
        self.steps.append({"step": text, "state": state, "ms": round(milliseconds, 1), "remarks": remarks})
        if not self._invocation.json:
            say(f"{paint(self._invocation, state.ljust(6), state)} {milliseconds:8.1f} ms  {text}")
            for remark in remarks:
                say(f"{'':19}{remark}")
            sys.stdout.flush()

    def finish(self) -> None:
        """Say that everything held."""
        seconds = time.monotonic() - self._began
        if self._invocation.json:
            emit({"ok": True, "seconds": round(seconds, 2), "steps": self.steps})
        else:
            say(f"All of it held, in {seconds:.1f} s.")


def run(invocation: Invocation) -> int:
    """Tell the story; return the exit status.

    Raises:
        Refusal: a step did not hold; says which.
    """
    story = Story(invocation)
    folder = Path(tempfile.mkdtemp(prefix="valhalla-demo-"))
    data_dir = folder / "data"
    data_dir.mkdir(mode=0o711)
    folder.chmod(0o711)
    try:
        try:
            with story.step("start Postgres, Valkey, NATS and the control plane, from nothing") as remarks:
                started = start(data_dir, Serving(), 60)
                remarks.append(f"{started.control.url}, data in {data_dir}")
            _live(story, started, data_dir)
        finally:
            _stop(story, data_dir)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    story.finish()
    return 0


def _live(story: Story, started: Started, data_dir: Path) -> None:
    with Client(started.control.url, started.admin_key) as client:
        with story.step("create sandbox 'alice': a schema, an ACL user and a NATS account of its own") as remarks:
            alice = client.create(name="alice", owner="demo", ttl="1h")
            remarks.append(f"id {alice.id}, schema {_access(alice)['postgres']['schema']}")
        with story.step("create sandbox 'bob'"):
            bob = client.create(name="bob", owner="demo", ttl="1h")
        asyncio.run(_work_and_attack(story, _access(alice), _access(bob)))
        asyncio.run(_destroy(story, client, alice, data_dir))
        with story.step("destroy 'bob' and wait until nothing is left of him"):
            _expect(client.destroy("bob", wait=20).status == "destroyed", "bob is not destroyed")
        asyncio.run(_nothing_left(story, data_dir))
        with story.step("verify the ledger, which outlives both") as remarks:
            report = client.verify_ledger()
            _expect(report.ok, "the ledger does not verify")
            remarks.append(f"{report.entries} entries, chain and signatures hold")


async def _work_and_attack(story: Story, alice: dict[str, Any], bob: dict[str, Any]) -> None:
    import asyncpg
    from redis import exceptions

    with story.step("work in alice: rows, keys, a JetStream message") as remarks:
        postgres = await asyncpg.connect(alice["postgres"]["url"])
        await postgres.execute("INSERT INTO communities (name) VALUES ('alice''s own')")
        rows = await postgres.fetchval("SELECT count(*) FROM communities")
        await postgres.close()
        valkey = _valkey(alice)
        await valkey.set(alice["valkey"]["prefix"] + "greeting", "hello")
        await valkey.aclose()
        sequence = await _jetstream(alice["nats"])
        remarks.append(f"{rows} row, 1 key, message {sequence} stored")
    with story.step("bob reads alice's rows: refused by Postgres") as remarks:
        postgres = await asyncpg.connect(bob["postgres"]["url"])
        try:
            await postgres.fetch(f"SELECT * FROM {alice['postgres']['schema']}.communities")  # noqa: S608 - our own name
            raise _Broken("bob read alice's rows")
        except asyncpg.InsufficientPrivilegeError as refusal:
            remarks.append(str(refusal))
        finally:
            await postgres.close()
    with story.step("bob reads alice's key: refused by Valkey") as remarks:
        valkey = _valkey(bob)
        try:
            await valkey.get(alice["valkey"]["prefix"] + "greeting")
            raise _Broken("bob read alice's key")
        except exceptions.NoPermissionError as refusal:
            remarks.append(str(refusal))
        finally:
            await valkey.aclose()
    with story.step("bob subscribes to alice's subjects: refused by NATS") as remarks:
        remarks.append(await _eavesdrop(bob["nats"], alice["nats"]))


async def _jetstream(access: dict[str, Any]) -> int:
    client = await _nats(access)
    try:
        stream = client.jetstream()
        await stream.add_stream(name="orders", subjects=[access["prefix"] + "orders.>"])
        return (await stream.publish(access["prefix"] + "orders.new", b"one")).seq
    finally:
        await client.close()


async def _eavesdrop(bob: dict[str, Any], alice: dict[str, Any]) -> str:
    refused: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def note(error: Exception) -> None:
        if not refused.done():
            refused.set_result(str(error))

    client = await _nats(bob, error_cb=note)
    try:
        await client.subscribe(alice["prefix"] + ">")
        await client.flush()
        return await asyncio.wait_for(refused, 2)
    except TimeoutError as error:
        raise _Broken("bob subscribed to alice's subjects") from error
    finally:
        await client.close()


def _valkey(access: dict[str, Any]) -> Any:
    from redis.asyncio import Redis

    return cast("Any", Redis).from_url(access["valkey"]["url"])


async def _nats(access: dict[str, Any], **more: Any) -> Any:
    from nats.aio.client import Client as Nats
    from nats.aio.client import RawCredentials

    client: Any = Nats()
    await client.connect(
        access["url"],
        user_credentials=RawCredentials(access["creds"]),
        inbox_prefix=access["inbox_prefix"].encode(),
        allow_reconnect=False,
        **more,
    )
    return client


async def _destroy(story: Story, client: Client, alice: Sandbox, data_dir: Path) -> None:
    import asyncpg

    postgres = await asyncpg.connect(_access(alice)["postgres"]["url"])
    with story.step("destroy 'alice' while she holds a connection: it is cut when the answer comes") as remarks:
        ended = await asyncio.to_thread(client.destroy, "alice")
        remarks.append(f"status {ended.status}")
    with story.step("her connection is dead and her password is refused") as remarks:
        # the driver may still be digesting the server's goodbye, which it calls an internal error
        dead = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
        with contextlib.suppress(*dead):
            await postgres.fetchval("SELECT 1")
            raise _Broken("alice's connection still works")
        try:
            await asyncpg.connect(_access(alice)["postgres"]["url"])
            raise _Broken("alice can still log in")
        except asyncpg.PostgresError as refusal:
            remarks.append(str(refusal))
    with story.step("wait until nothing is left of her"):
        ended = await asyncio.to_thread(client.destroy, alice.id, wait=20)
        _expect(ended.status == "destroyed", "alice is not destroyed")


async def _nothing_left(story: Story, data_dir: Path) -> None:
    from valhalla.cli.leftovers import leftovers

    with story.step("look for leftovers with the servers' own administrators") as remarks:
        found = await leftovers(data_dir)
        _expect(not found, f"left behind: {', '.join(found)}")
        remarks.append("no schema, role, ACL user, key, account or stream")


def _stop(story: Story, data_dir: Path) -> None:
    from valhalla.cli.commands.down import stop
    from valhalla.sdk.discovery import read_control

    control = read_control(data_dir)
    if control is None or not control.is_running:
        return
    with story.step("stop everything"):
        stop(control, 30)


def _access(sandbox: Sandbox) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(sandbox.connection)


def _expect(held: bool, otherwise: str) -> None:
    if not held:
        raise _Broken(otherwise)


class _Broken(Refusal):
    """A claim of the story did not hold."""

    def __init__(self, what: str) -> None:
        super().__init__("demo-failed", what, "This should never happen: please report it with the output above.")
