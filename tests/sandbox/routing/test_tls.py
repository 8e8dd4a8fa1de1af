"""NATS that is reached over TLS: by every connection that event routing makes, and refused in words otherwise."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.isolation.conftest import NatsProcess

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit import natsauth, natstls
from valhalla.kit.bus import EventBus
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import streams
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import Event, Sizes, Terms
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.nats_admin import NatsAdmin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@dataclass
class Secured:
    """A server that wants TLS, and the files that its clients need."""

    process: NatsProcess
    folder: Path
    creds: str

    @property
    def url(self) -> str:
        return f"tls://localhost:{self.process.port}"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def client(self, name: str) -> dict[str, Path]:
        return {"cert": self.folder / f"{name}.pem", "key": self.folder / f"{name}.key"}


def _files(folder: Path) -> dict[str, Any]:
    ours, strangers = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(folder / "ca.pem")
    strangers.cert_pem.write_to_path(folder / "other.pem")
    for name, made in (
        ("server", ours.issue_cert("localhost")),
        ("client", ours.issue_cert("ingress@test.example")),
        ("stranger", strangers.issue_cert("ingress@test.example")),
    ):
        made.private_key_pem.write_to_path(folder / f"{name}.key")
        (folder / f"{name}.pem").write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
    return {"cert_file": str(folder / "server.pem"), "key_file": str(folder / "server.key")}


def _server(folder: Path, **more: Any) -> Iterator[Secured]:
    tls = _files(folder) | more
    (folder / "nats").mkdir()
    process = NatsProcess(folder / "nats", CellKey.parse(secrets.token_urlsafe(32)), {"tls": tls}).start()
    yield Secured(process, folder, natsauth.control_creds(process.cell))
    process.stop()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    yield from _server(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A server that wants to know its clients, too."""
    folder = tmp_path_factory.mktemp("mutual")
    yield from _server(folder, ca_file=str(folder / "ca.pem"), verify=True)


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncGenerator[tuple[str, str]]:
    """Port and credentials of a server without TLS."""
    process = NatsProcess(tmp_path, CellKey.parse(secrets.token_urlsafe(32))).start()
    yield str(process.port), natsauth.control_creds(process.cell)
    process.stop()


async def test_events_are_claimed_and_published_over_tls(secured: Secured) -> None:
    """The whole way of an event, and what the control plane asks the server for."""
    tls, cell = natstls.trust(secured.ca), secured.process.cell
    admin = NatsAdmin(
        secured.url, natsauth.operator_key(cell), natsauth.system_creds(cell), timeout=5, tls=natstls.trust(secured.ca)
    )
    link = await Link.open(secured.url, secured.creds, name="tests", tls=tls)
    await streams.ensure(link, Sizes(max_bytes=2**26))
    claims = Claims(secured.url, secured.creds, admin.close_connection, tls=tls)
    ingress = Ingress(secured.url, secured.creds, name="tests", tls=tls)
    await ingress.start(wait=20)
    sandbox = new_id()

    async def owns() -> bool:
        return True

    until = datetime.now(UTC) + timedelta(hours=1)
    claimed = await claims.establish("tenant", "acme", sandbox, until=until, terms=Terms(), owns=owns)
    assert claimed is not None
    # more than fits into one record of TLS, and than the window
    stored = [await ingress.publish(Event("tenant", "acme", "t", b"x" * 100_000, f"big-{n}")) for n in range(3)]
    for number in range(3000):
        await ingress.post(Event("tenant", "other", "t", b"1", f"small-{number}"))
    await ingress.flush()
    assert [each.sandbox for each in stored] == [sandbox] * 3
    assert ingress.outgoing.published == 3003
    # fencing works as without: the server closes the connection, and the ingress joins anew
    assert ingress._link is not None
    assert await admin.close_connection(ingress._link.server, ingress._link.cid)
    assert (await ingress.publish(Event("tenant", "acme", "t", b"1", "after"))).sandbox == sandbox
    assert ingress.joined == 2
    part = NatsSlice(secured.url, cell, tls=tls, timeout=10)
    assert (await part.ping()).ok
    assert await part.check_server() is not None
    bus = EventBus(secured.url, secured.creds, tls=tls)
    await bus.jetstream()
    for each in (ingress.stop(), claims.close(), link.close(), admin.close(), part.close(), bus.close()):
        await each


async def test_without_the_servers_ca_nothing_is_said_to_it(secured: Secured) -> None:
    for tls in (None, natstls.trust(secured.folder / "other.pem")):
        with pytest.raises(Misconfigured, match=r"certificate .* is not accepted") as caught:
            await Link.open(secured.url, secured.creds, name="tests", tls=tls)
        assert "nats_ca_file" in caught.value.advice
        part = NatsSlice(secured.url, secured.process.cell, tls=tls)
        with pytest.raises(Misconfigured, match=r"certificate .* is not accepted"):
            await part.check_server()
        await part.close()


async def test_the_name_in_the_url_must_be_the_certificates(secured: Secured) -> None:
    with pytest.raises(Misconfigured, match="not accepted") as caught:
        await Link.open(
            secured.url.replace("localhost", "127.0.0.1"), secured.creds, name="tests", tls=natstls.trust(secured.ca)
        )
    assert "by a name that its certificate is for" in caught.value.advice


async def test_an_ingress_says_at_once_what_no_waiting_mends(secured: Secured) -> None:
    ingress = Ingress(secured.url, secured.creds, name="tests")
    with pytest.raises(Misconfigured, match="not accepted"):
        await ingress.start(wait=60)
    await ingress.stop(patience=0)


async def test_a_plain_url_to_a_server_with_tls_is_refused(secured: Secured) -> None:
    """Also by the client of the control plane, which would begin TLS by itself."""
    url = secured.url.replace("tls://", "nats://")
    with pytest.raises(Misconfigured, match="wants TLS") as caught:
        await Link.open(url, secured.creds, name="tests")
    assert f"tls://localhost:{secured.process.port}" in caught.value.advice
    part = NatsSlice(url, secured.process.cell)
    with pytest.raises(Misconfigured, match="wants TLS"):
        await part.check_server()
    await part.close()


async def test_a_tls_url_to_a_plain_server_is_refused(plain: tuple[str, str]) -> None:
    port, creds = plain
    with pytest.raises(Misconfigured, match="does not speak TLS") as caught:
        await Link.open(f"tls://localhost:{port}", creds, name="tests")
    assert f"nats://localhost:{port}" in caught.value.advice


async def test_a_server_that_wants_to_know_its_clients(mutual: Secured) -> None:
    """Ours is let in; none, or one that nobody there trusts, is refused with what to do."""
    ours = natstls.trust(mutual.ca, **mutual.client("client"))
    link = await Link.open(mutual.url, mutual.creds, name="tests", tls=ours)
    assert link.is_open
    await link.close()
    for tls in (natstls.trust(mutual.ca), natstls.trust(mutual.ca, **mutual.client("stranger"))):
        with pytest.raises(Misconfigured, match="does not accept this client") as caught:
            await Link.open(mutual.url, mutual.creds, name="tests", tls=tls)
        assert "nats_client_cert" in caught.value.advice


async def test_a_wrong_password_over_tls_is_told_apart(secured: Secured) -> None:
    stranger = natsauth.control_creds(CellKey.parse(secrets.token_urlsafe(32)))
    with pytest.raises(Unavailable, match="Authorization Violation"):
        await Link.open(secured.url, stranger, name="tests", tls=natstls.trust(secured.ca))


def test_files_that_are_none_are_named(secured: Secured, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(Misconfigured, match=r"empty\.pem holds no CA certificate"):
        natstls.trust(empty)
    with pytest.raises(Misconfigured, match="no certificate and its key"):
        natstls.trust(secured.ca, cert=secured.folder / "client.pem", key=secured.folder / "server.key")
