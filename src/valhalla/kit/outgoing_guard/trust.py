"""Whose certificates are believed: the public authorities, and those that an operator or a channel names besides."""

from __future__ import annotations

import ssl

UNTRUSTED = "has no certificate that is trusted for its name"


def context(*authorities: str | None) -> ssl.SSLContext:
    """Return what checks a server's certificate and name; ``authorities`` are PEM texts.

    Raises:
        ssl.SSLError, ValueError: one of them holds no certificate.
    """
    import httpx

    made = httpx.create_ssl_context(trust_env=False)
    for pem in authorities:
        if pem is not None:
            made.load_verify_locations(cadata=pem)
    return made


def is_untrusted(error: BaseException) -> bool:
    """Say whether a connection failed since the other side's certificate is not believed."""
    return isinstance(error.__cause__ or error, ssl.SSLCertVerificationError)
