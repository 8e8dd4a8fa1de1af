"""Webhooks over TLS to a real receiver whose certificate an authority of one's own has signed, at a private address."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.conftest import Servers
from tests.features.notifications.conftest import Scene
from tests.features.notifications.receiver import Receiver, receiving, status

from valhalla.features.data.notifications.errors import BadChannel

pytestmark = pytest.mark.slow
HOST = "localhost"
UNTRUSTED = "the receiver has no certificate that is trusted for its name"


@asynccontextmanager
async def _secure(certificate: trustme.LeafCert) -> AsyncGenerator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    async with receiving(context) as receiver:
        yield receiver


@asynccontextmanager
async def _anew(scene: Scene, servers: Servers, **settings: Any) -> AsyncGenerator[Scene]:
    """Let a control plane with other settings take the place of the scene's."""
    await scene.end()
    other = Scene(scene.db, servers, **settings)
    await other.feed.start()
    await other.start()
    try:
        yield other
    finally:
        await other.end()
        await other.feature.stop()
        await other.feed.stop()


def _pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


async def _told(scene: Scene, name: str, url: str, authority: trustme.CA | None = None) -> tuple[str, str | None]:
    """Send once by a channel, and return what came of it."""
    webhook = {"url": url} if authority is None else {"url": url, "authorities": _pem(authority)}
    await scene.channel(name, kind="webhook", webhook=webhook, attempts=1)
    found, _ = await scene.until(await scene.send(name), "delivered", "dead")
    return found.status, found.error


async def test_a_channel_trusts_the_authority_that_it_names(scene: Scene) -> None:
    authority, other = trustme.CA(), trustme.CA()
    async with _secure(authority.issue_cert(HOST)) as receiver:
        url = f"https://{HOST}:{receiver.port}/hook"
        assert await _told(scene, "ours", url, authority) == ("delivered", None)
        # neither does the kept connection of the channel that trusts serve one that does not
        assert await _told(scene, "public", url) == ("dead", UNTRUSTED)
        assert await _told(scene, "theirs", url, other) == ("dead", UNTRUSTED)
        assert await _told(scene, "ours", url, authority) == ("delivered", None)
    assert len(receiver.got) == 2
    with pytest.raises(BadChannel, match="certificates in PEM"):
        await _told(scene, "ours", url.replace("hook", "other"), _Nonsense())  # pyright: ignore[reportArgumentType]


class _Nonsense:
    @property
    def cert_pem(self) -> trustme.Blob:
        return trustme.Blob(b"-----BEGIN NONSENSE-----")


@pytest.mark.parametrize("wrong", ["name", "expired"])
async def test_an_authority_is_no_reason_to_believe_everything(scene: Scene, wrong: str) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("elsewhere.example")
    if wrong == "expired":
        certificate = authority.issue_cert(
            HOST, not_before=datetime(2019, 1, 1, tzinfo=UTC), not_after=datetime(2020, 1, 1, tzinfo=UTC)
        )
    async with _secure(certificate) as receiver:
        told = await _told(scene, "ops", f"https://{HOST}:{receiver.port}/hook", authority)
    assert (told, receiver.got) == (("dead", UNTRUSTED), [])


async def test_the_operator_names_an_authority_for_every_channel(
    scene: Scene, servers: Servers, tmp_path: Path
) -> None:
    authority = trustme.CA()
    file = tmp_path / "authorities.pem"
    file.write_text(_pem(authority))
    async with (
        _secure(authority.issue_cert(HOST)) as receiver,
        _anew(scene, servers, outgoing_ca_file=file) as plane,
    ):
        assert await _told(plane, "ops", f"https://{HOST}:{receiver.port}/hook") == ("delivered", None)


async def test_a_named_host_is_reached_at_its_private_address_and_nobody_else(scene: Scene, servers: Servers) -> None:
    authority = trustme.CA()
    refused = "the target's address is private and no setting allows it"
    async with _secure(authority.issue_cert(HOST)) as receiver, receiving() as neighbour:
        url = f"https://{HOST}:{receiver.port}/hook"
        async with _anew(scene, servers, outgoing_networks=[]) as plane:
            assert await _told(plane, "ops", url, authority) == ("dead", refused)
        hosts = [f"{HOST}:{receiver.port}=127.0.0.0/8"]
        async with _anew(scene, servers, outgoing_networks=[], outgoing_hosts=hosts) as plane:
            assert await _told(plane, "ops", url, authority) == ("delivered", None)
            receiver.answers.append(status(307, f"Location: {neighbour.url}"))
            assert await _told(plane, "ops", url, authority) == ("dead", "HTTP 307: redirects are not followed")
            assert await _told(plane, "else", f"http://{HOST}:{neighbour.port}/hook") == ("dead", refused)
            with pytest.raises(BadChannel, match="private"):
                await _told(plane, "literal", neighbour.url)
        # the name has moved out of the network that the operator gave it
        hosts = [f"{HOST}=10.0.0.0/8"]
        async with _anew(scene, servers, outgoing_networks=[], outgoing_hosts=hosts) as plane:
            assert await _told(plane, "ops", url, authority) == ("dead", refused)
    assert (len(receiver.got), neighbour.got) == (2, [])
