"""A throw-away certificate for Discord's host names, made in memory: nothing outside this process trusts it.

Ed25519 needs no parameters, so its DER is short enough to be written out (RFC 5280, RFC 8410).
"""

from __future__ import annotations

import base64
import secrets
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey

HOSTS: Final = ("discord.com", "discord.gg", "discordapp.com", "discordapp.net", "discord.media")
"""What the certificate is for, with one name in front of each or none."""

_ED25519: Final = bytes.fromhex("300506032b6570")


class Certificate:
    """A certificate that signs itself, as PEM."""

    def __init__(self) -> None:
        key = SigningKey.generate()
        name = _tlv(0x30, _tlv(0x31, _tlv(0x30, _oid("550403") + _tlv(0x0C, b"fake Discord"))))
        today = datetime.now(UTC)
        days = (today - timedelta(days=1), today + timedelta(days=30))
        validity = _tlv(0x30, b"".join(_tlv(0x17, each.strftime("%y%m%d%H%M%SZ").encode()) for each in days))
        names = [each for host in HOSTS for each in (host, f"*.{host}")]
        alternatives = _tlv(0x30, b"".join(_tlv(0x82, each.encode()) for each in names))
        constraints = _tlv(0x30, _tlv(0x01, b"\xff"))
        extensions = _extension("551d11", alternatives) + _extension("551d13", constraints, critical=True)
        public = _tlv(0x30, _ED25519 + _tlv(0x03, b"\0" + bytes(key.verify_key)))
        body = _tlv(
            0x30,
            _tlv(0xA0, _tlv(0x02, b"\2"))
            + _tlv(0x02, b"\x01" + secrets.token_bytes(15))
            + _ED25519
            + name
            + validity
            + name
            + public
            + _tlv(0xA3, _tlv(0x30, extensions)),
        )
        signed = _tlv(0x30, body + _ED25519 + _tlv(0x03, b"\0" + key.sign(body).signature))
        secret = _tlv(0x30, _tlv(0x02, b"\0") + _ED25519 + _tlv(0x04, _tlv(0x04, bytes(key))))
        self.pem = _pem("CERTIFICATE", signed)
        self._key = _pem("PRIVATE KEY", secret)

    def server(self) -> ssl.SSLContext:
        """Return what the server speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory(prefix="valhalla-") as directory:
            path = Path(directory) / "both.pem"
            path.touch(mode=0o600)
            path.write_text(self._key + self.pem)
            context.load_cert_chain(path)
        return context

    def client(self) -> ssl.SSLContext:
        """Return what trusts this certificate and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.pem)
        return context


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def _oid(content: str) -> bytes:
    return _tlv(0x06, bytes.fromhex(content))


def _extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    return _tlv(0x30, _oid(oid) + (_tlv(0x01, b"\xff") if critical else b"") + _tlv(0x04, value))


def _pem(label: str, der: bytes) -> str:
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n"
