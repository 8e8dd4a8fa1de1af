"""Mail over TLS, to a real server: with a certificate that is trusted, and with those that are not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from tests.features.notifications.conftest import Scene

from valhalla.features.data.notifications.errors import BadChannel

pytestmark = pytest.mark.slow
HOST = "localhost"


class _Mailbox:
    def __init__(self) -> None:
        self.taken: list[tuple[bool, bytes]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.taken.append((session.ssl is not None, envelope.content))
        return "250 taken"


def _authenticated(_server: Any, _session: Any, _envelope: Any, mechanism: str, given: Any) -> AuthResult:
    assert mechanism in ("LOGIN", "PLAIN")
    fine = isinstance(given, LoginPassword) and (given.login, given.password) == (b"valhalla", b"correct horse")
    return AuthResult(success=fine, handled=fine)


@asynccontextmanager
async def _serving(box: _Mailbox, security: str, certificate: trustme.LeafCert) -> AsyncGenerator[int]:
    """Serve with STARTTLS, with TLS from the first byte, or with none at all; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    upgrade: dict[str, Any] = {"tls_context": context, "require_starttls": True} if security == "starttls" else {}
    if security != "none":
        upgrade |= {"authenticator": _authenticated, "auth_required": True, "auth_require_tls": security == "starttls"}
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(box, hostname=HOST, **upgrade), "127.0.0.1", 0, ssl=context if security == "tls" else None
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _email(port: int, security: str, authority: trustme.CA | None, host: str = HOST) -> dict[str, Any]:
    pem = None if authority is None else authority.cert_pem.bytes().decode()
    return {"host": host, "port": port, "security": security, "sender": "v@example.com",
            "recipients": ["ops@example.com"], "username": "valhalla", "password": "correct horse",
            "authorities": pem}  # fmt: skip


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_mail_goes_over_tls_to_whom_the_certificate_names(scene: Scene, security: str) -> None:
    authority, box = trustme.CA(), _Mailbox()
    async with _serving(box, security, authority.issue_cert(HOST)) as port:
        await scene.channel("mail", kind="email", email=_email(port, security, authority), attempts=1)
        found, tries = await scene.until(await scene.send("mail", "Broken"), "delivered", "dead")

    assert (found.status, found.error) == ("delivered", None), tries
    [(encrypted, content)] = box.taken
    # aiosmtpd notes what STARTTLS made; with TLS from the first byte it sees none of it
    assert encrypted or security == "tls"
    assert b"Subject: [ERROR] Broken" in content


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("wrong", ["unknown", "name", "expired", "public"])
async def test_no_password_goes_to_who_has_no_right_certificate(scene: Scene, security: str, wrong: str) -> None:
    from datetime import UTC, datetime

    authority, other, box = trustme.CA(), trustme.CA(), _Mailbox()
    certificate = authority.issue_cert("elsewhere.example" if wrong == "name" else HOST)
    if wrong == "expired":
        certificate = authority.issue_cert(HOST, not_before=datetime(2019, 1, 1, tzinfo=UTC),
                                           not_after=datetime(2020, 1, 1, tzinfo=UTC))  # fmt: skip
    trusted = {"unknown": other, "public": None}.get(wrong, authority)
    async with _serving(box, security, certificate) as port:
        await scene.channel("mail", kind="email", email=_email(port, security, trusted), attempts=1)
        found, _ = await scene.until(await scene.send("mail", "Broken"), "delivered", "dead")

    assert (found.status, found.error) == (
        "dead", "the mail server has no certificate that is trusted for its name"
    )  # fmt: skip
    assert box.taken == []


async def test_a_server_without_starttls_gets_no_mail_in_the_clear(scene: Scene) -> None:
    authority, box = trustme.CA(), _Mailbox()
    async with _serving(box, "none", authority.issue_cert(HOST)) as port:
        await scene.channel("mail", kind="email", email=_email(port, "starttls", authority), attempts=1)
        found, _ = await scene.until(await scene.send("mail", "Broken"), "delivered", "dead")

    assert (found.status, box.taken) == ("dead", [])


async def test_a_wrong_password_is_said_and_authorities_are_certificates(scene: Scene) -> None:
    authority, box = trustme.CA(), _Mailbox()
    async with _serving(box, "starttls", authority.issue_cert(HOST)) as port:
        email = _email(port, "starttls", authority) | {"password": "wrong"}
        await scene.channel("mail", kind="email", email=email, attempts=1)
        found, tries = await scene.until(await scene.send("mail", "Broken"), "delivered", "dead")

    assert found.error == "the mail server refuses the user name or password"
    assert "wrong" not in str(tries)
    with pytest.raises(BadChannel):
        await scene.channel("mail", kind="email", email=email | {"authorities": "-----BEGIN NONSENSE-----"})
