"""A program in a network of its own: what it cannot reach, what it may still do, and what is told of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.guard.egress.programs import python
from tests.guard.egress.world import Web, World

from valhalla.cli.child import Child
from valhalla.guard.egress import Attempt, CannotSeal, Layer
from valhalla.guard.egress.child import Confined
from valhalla.guard.egress.child.reporting import read, write
from valhalla.kernel.clock import Clock

Run = Callable[..., tuple[int, Confined]]


@pytest.fixture
def run(namespaces: None) -> Run:
    del namespaces

    def call(allow: list[str], *program: str) -> tuple[int, Confined]:
        with Child() as child, Confined(allow) as confined:
            code = child.run(program, confined.environment(os.environ), confined)
        return code, confined

    return call


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def tried(confined: Confined) -> list[tuple[str, str, Layer]]:
    return [(attempt.what, attempt.where, attempt.layer) for attempt in confined.attempts]


def test_it_reaches_its_endpoint_and_nothing_else(run: Run, web: Web, world: World) -> None:
    posts = web.posts
    script = f"""
import http.client, socket
c = http.client.HTTPConnection("127.0.0.1", {web.port})
c.request("POST", "/", b"x" * 300000)
assert c.getresponse().read() == b"ok"
for address in (("127.0.0.1", {world.mail.port}), ("10.1.2.3", 80), ("fd00::1", 80)):
    try:
        socket.create_connection(address, timeout=5)
    except OSError:
        continue
    raise SystemExit(f"{{address}} was reached")
"""
    code, confined = run([f"127.0.0.1:{web.port}"], *python(script))

    assert (code, web.posts, web.seen[-1][1]) == (0, posts + 1, b"x" * 300000)
    assert tried(confined) == [
        ("connect", f"127.0.0.1:{world.mail.port}", Layer.KERNEL),
        ("connect", "10.1.2.3:80", Layer.KERNEL),
        ("connect", "[fd00::1]:80", Layer.KERNEL),
    ]
    assert confined.coverage.layers[Layer.KERNEL].active


def test_other_languages_are_held_as_well(run: Run) -> None:
    code, confined = run([], "bash", "-c", "exec 3<>/dev/tcp/10.9.8.7/25")
    assert code != 0
    assert tried(confined) == [("connect", "10.9.8.7:25", Layer.KERNEL)]


def test_its_own_servers_are_its_own(run: Run) -> None:
    script = """
import socket, socketserver, threading
server = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)
threading.Thread(target=server.handle_request).start()
socket.create_connection(server.server_address).close()
one, two = socket.socketpair()
one.send(b"x")
"""
    code, confined = run([], *python(script))
    assert (code, confined.attempts) == (0, ())


def test_daemons_on_unix_sockets_are_hidden(run: Run) -> None:
    # a path for a socket is short
    path = f"/tmp/vh-daemon-{os.getpid()}"
    script = f"""
import socket
try:
    socket.socket(socket.AF_UNIX).connect({path!r})
except ConnectionRefusedError:
    raise SystemExit(7)
"""
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(path)
        daemon.listen()
        try:
            code, confined = run([], *python(script))
            named, _ = run([f"unix:{path}"], *python(script))
        finally:
            Path(path).unlink()
    assert (code, tried(confined)) == (7, [("connect", f"unix:{path}", Layer.KERNEL)])
    assert named == 0


def test_datagrams_and_names_do_not_leave(run: Run) -> None:
    script = """
import socket
for send in (lambda s: s.sendto(b"x", ("10.1.2.3", 99)), lambda s: s.connect(("10.1.2.3", 53))):
    try:
        send(socket.socket(type=socket.SOCK_DGRAM))
    except OSError:
        continue
    raise SystemExit(1)
"""
    code, confined = run([], *python(script))
    assert code == 0
    assert [what for what, _, _ in tried(confined)] == ["send a datagram to", "resolve a name at"]


def test_a_python_program_tells_the_content(run: Run, web: Web) -> None:
    script = f"""
import urllib.request
urllib.request.urlopen("http://127.0.0.1:{web.port}/in", b"x")
try:
    urllib.request.urlopen("http://10.1.2.3/pay", b"amount=3&password=hunter2")
except OSError:
    raise SystemExit(5)
"""
    code, confined = run([web.url], sys.executable, "-c", script)

    assert code == 5
    assert [(a.what, a.where, a.excerpt, a.layer) for a in confined.attempts] == [
        ("POST", "http://10.1.2.3:80/pay", "amount=3&password=***", Layer.PROTOCOL)
    ]


def test_the_programs_own_sitecustomize_still_runs(run: Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = out.parent / "own"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("mine = 7")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    code, _ = run([], sys.executable, "-c", "import sitecustomize; raise SystemExit(sitecustomize.mine)")
    assert code == 7


def test_files_and_processes_are_left_alone(run: Run, out: Path) -> None:
    script = f"import subprocess; open({str(out)!r}, 'w').close(); subprocess.run(['rm', {str(out)!r}], check=True)"
    code, confined = run([], sys.executable, "-c", script)
    assert (code, confined.attempts, out.exists()) == (0, (), False)


@pytest.mark.parametrize(("program", "code"), [(["sh", "-c", "exit 9"], 9), (["sh", "-c", "kill -9 $$"], 137)])
def test_the_exit_code_is_the_programs(run: Run, program: list[str], code: int) -> None:
    assert run([], *program)[0] == code


def test_a_program_that_does_not_exist(run: Run) -> None:
    assert run([], "no-such-program-at-all")[0] == 127


def test_a_failed_preparation_starts_nothing(run: Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise CannotSeal("the kernel refuses namespaces: Operation not permitted")

    monkeypatch.setattr("valhalla.guard.egress.child.network.separate", refuse)
    with pytest.raises(CannotSeal, match="not started: the kernel refuses"):
        run([], "touch", str(out))
    assert not out.exists()


@pytest.mark.usefixtures("namespaces")
def test_signals_reach_it() -> None:
    with Child() as child, Confined([]) as confined:
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        code = child.run(["sleep", "30"], confined.environment(os.environ), confined)
        timer.join()
    assert code == 128 + signal.SIGTERM


def test_a_forged_report_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_bytes(b'{"what": 1}\n[]\nnull\n\xff\xfe\n{"at": "x"}\n')
    attempt = Attempt("POST", "h:1", 3, "x", Layer.PROTOCOL, "blocked", Clock().now())
    write(str(path), attempt)
    assert [one.what for one in read(path)] == ["POST"]


# nobody must be able to read this tree and its interpreter, which is not so everywhere
@pytest.mark.slow
@pytest.mark.usefixtures("namespaces")
def test_without_privileges_a_namespace_of_users_does_it(web: Web) -> None:
    """Root becomes nobody first; who is not root already is in that case."""
    script = f"""
import asyncio, ctypes, encodings.idna, json, os, sys, threading
from valhalla.cli.child import Child
from valhalla.guard.egress.child import Confined
from valhalla.guard.egress import CannotSeal
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
os.chdir("/tmp")
try:
    with Child() as child, Confined(["127.0.0.1:{web.port}"]) as confined:
        lines = "(exec 3<>/dev/tcp/127.0.0.1/{web.port}) || exit 1; (exec 3<>/dev/tcp/10.9.8.7/80); id -u"
        code = child.run(["/bin/bash", "-c", lines], confined.environment(os.environ), confined)
except CannotSeal as error:
    print(json.dumps({{"refused": error.detail}}))
else:
    print(json.dumps({{"code": code, "tried": [a.where for a in confined.attempts]}}))
"""
    # somebody else's socket where nobody may look stops nothing
    with tempfile.TemporaryDirectory() as private, socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(f"{private}/daemon")
        daemon.listen()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    told = json.loads(last)
    if "refused" in told:
        pytest.skip(told["refused"])
    assert told == {"code": 0, "tried": ["10.9.8.7:80"]}
    assert said == [str(os.geteuid() or 65534)]
