"""TLS to NATS: whose certificates are trusted, whose ours is, and what a refusal of either side means."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from valhalla.kernel.problems import Misconfigured

_SET: Final = "(VALHALLA_{}, or --set {}=FILE)"
_LOOK: Final = "Look into the server's log; it must speak TLS 1.2 or newer on this port."


class Places(Protocol):
    """The settings that say how NATS is reached."""

    nats_url: str | None
    nats_ca_file: Path | None
    nats_client_cert: Path | None
    nats_client_key: Path | None


def of(settings: Places) -> ssl.SSLContext | None:
    """Return what connections to the NATS of the settings trust; ``None`` where they are not made over TLS.

    Raises:
        Misconfigured: one of the files is none that TLS can use.
    """
    if settings.nats_url is None or not is_tls(settings.nats_url):
        return None
    return trust(settings.nats_ca_file, cert=settings.nats_client_cert, key=settings.nats_client_key)


def is_tls(url: str) -> bool:
    """Say whether a URL asks for TLS."""
    return url.startswith("tls://")


def trust(
    ca: Path | str | None = None, *, cert: Path | str | None = None, key: Path | str | None = None
) -> ssl.SSLContext:
    """Return a context that takes servers whose certificate ``ca`` signed, without one those that the system trusts.

    ``cert`` and ``key`` are shown to a server that wants to know its clients. All are PEM files.

    Raises:
        Misconfigured: one of them cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        raise Misconfigured(
            f"{ca} holds no CA certificate: {_reason(error)}",
            help=f"Name a PEM file with the CA's certificate in nats_ca_file {_how('nats_ca_file')}.",
            setting="nats_ca_file",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert is not None:
        try:
            # without an answer OpenSSL would ask at the terminal for the password of a key that has one
            context.load_cert_chain(str(cert), None if key is None else str(key), password=lambda: "")
        except OSError as error:
            raise Misconfigured(
                f"{cert} and {key} are no certificate and its key: {_reason(error)}",
                help="Name PEM files that belong together in nats_client_cert and nats_client_key; the key without a "
                "password.",
                setting="nats_client_cert",
            ) from error
    return context


async def upgraded(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    url: str,
    info: Mapping[str, Any],
    tls: ssl.SSLContext | None,
) -> asyncio.Transport:
    """Begin TLS where the URL asks for it, and return what to write to; ``info`` is how the server greeted.

    Raises:
        Misconfigured: one side wants TLS, and the other does not.
        OSError: the handshake failed; ``refused`` says why.
    """
    if not is_tls(url):
        # not by itself: whoever stands in between could say that the server wants none
        if info.get("tls_required"):
            raise wanted(url)
        return transport
    if not (info.get("tls_required") or info.get("tls_available")):
        raise missing(url)
    loop, context = asyncio.get_running_loop(), tls or trust()
    made = await loop.start_tls(transport, protocol, context, server_hostname=urlsplit(url).hostname)
    if made is None:
        raise ConnectionAbortedError("the connection was closed in the handshake")
    return made


def refused(error: BaseException | None, url: str) -> Misconfigured | None:
    """Return what to do about a connection that failed by its TLS; ``None`` if it failed by something else."""
    if not isinstance(error, ssl.SSLError):
        return None
    if not is_tls(url):
        return wanted(url)
    at = _at(url)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Misconfigured(
            f"the certificate of the NATS server at {at} is not accepted: {error.verify_message or _reason(error)}",
            help=f"Name the CA that signed it in nats_ca_file {_how('nats_ca_file')}, and the server by a name that "
            "its certificate is for.",
            setting="nats_ca_file",
        )
    reason = _reason(error)
    if "ALERT" in reason.upper():
        return Misconfigured(
            f"the NATS server at {at} does not accept this client: {reason}",
            help="It wants a client certificate that its CA signed: name one in nats_client_cert "
            f"{_how('nats_client_cert')}, and its key in nats_client_key.",
            setting="nats_client_cert",
        )
    return Misconfigured(f"TLS with the NATS server at {at} failed: {reason}", help=_LOOK, setting="nats_url")


def wanted(url: str) -> Misconfigured:
    """Return what to do about a server that wants TLS where the URL asks for none."""
    at = _at(url)
    return Misconfigured(
        f"the NATS server at {at} wants TLS",
        help=f"Write its address as tls://{at} in nats_url. Unless the system trusts its certificate, name the CA that "
        f"signed it in nats_ca_file {_how('nats_ca_file')}.",
        setting="nats_url",
    )


def missing(url: str) -> Misconfigured:
    """Return what to do about a server that has no TLS where the URL asks for it."""
    at = _at(url)
    return Misconfigured(
        f"the NATS server at {at} does not speak TLS",
        help="Give it a certificate ('tls { cert_file: ..., key_file: ... }' in its configuration). Only if "
        f"everybody on the way may read along, write nats://{at} instead.",
        setting="nats_url",
    )


def _at(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 4222}"


def _how(setting: str) -> str:
    return _SET.format(setting.upper(), setting)


def _reason(error: OSError) -> str:
    text = getattr(error, "reason", None) or error.strerror or str(error)
    return str(text).replace("_", " ").lower()
