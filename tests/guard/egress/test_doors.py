"""The doors of a confined program: to which endpoints they lead, and how connections through them end."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.guard.egress.programs import python
from tests.guard.egress.world import Web

from valhalla.cli.child import Child
from valhalla.guard.egress import CannotSeal
from valhalla.guard.egress.child import Confined, doors, plan
from valhalla.guard.egress.endpoints import Endpoints
from valhalla.kernel.problems import Invalid


def test_an_endpoint_without_an_address_is_refused_before_anything_runs() -> None:
    with pytest.raises(CannotSeal, match="no address"):
        Confined(["nobody.invalid:5432"])
    with pytest.raises(CannotSeal, match="no port"):
        Confined(["127.0.0.1:*"])
    with pytest.raises(Invalid):
        Confined(["?"])


@pytest.mark.usefixtures("namespaces")
def test_an_address_of_another_machine_gets_a_door(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """The door has the far address; what is behind it is connected from our network."""
    script = f"import socket; socket.create_connection(('10.77.0.9', {web.port}), timeout=5)"
    reached: list[tuple[str, int]] = []
    original = doors.serve

    async def serve(door: socket.socket, target: tuple[str, int]) -> object:
        reached.append(target)
        return await original(door, ("127.0.0.1", target[1]))

    monkeypatch.setattr(doors, "serve", serve)
    with Child() as child, Confined([f"10.77.0.9:{web.port}"]) as confined:
        assert child.run(python(script), confined.environment(os.environ), confined) == 0
    assert (reached, confined.attempts) == ([("10.77.0.9", web.port)], ())


@pytest.mark.usefixtures("namespaces")
def test_the_name_of_an_endpoint_is_answered_without_a_resolver(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"db.example": ("127.0.0.1",)}
    monkeypatch.setattr(plan, "Endpoints", lambda texts: Endpoints(texts, lambda host: answers.get(host, ())))
    script = f"import socket; socket.create_connection(('db.example', {web.port}), timeout=5)"
    with Child() as child, Confined([f"db.example:{web.port}"]) as confined:
        assert child.run(python(script), confined.environment(os.environ), confined) == 0
    assert confined.attempts == ()
    assert "db.example" not in plan.HOSTS.read_text()


@pytest.fixture
def busy() -> Iterator[int]:
    """A port at which a connection stays half made: nobody accepts, and the queue is full."""
    with contextlib.ExitStack() as kept:
        server = kept.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = kept.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("far", ["answers", "is busy"])
def test_connections_that_the_program_leaves_open_end_quietly(far: str, web: Web, busy: int) -> None:
    """Their ends here were destroyed with the loop, loudly."""
    port = web.port if far == "answers" else busy
    lines = (
        "import os, sys\n"
        "from valhalla.cli.child import Child\n"
        "from valhalla.guard.egress.child import Confined\n"
        f"address = '127.0.0.1:{port}'\n"
        f"program = \"import os, socket; s = socket.create_connection(('127.0.0.1', {port})); os._exit(3)\"\n"
        "with Child() as child, Confined([address]) as confined:\n"
        "    sys.exit(child.run([sys.executable, '-c', program], confined.environment(os.environ), confined))\n"
    )
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", lines],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (3, "")
