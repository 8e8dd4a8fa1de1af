"""The forms that settings have: durations, addresses, seeds. A message never repeats a value: it may be secret."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from valhalla.kernel.problems import Misconfigured

V = TypeVar("V", str, SecretStr)

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WRITTEN: Final = re.compile(r"(?:[0-9]{1,9}[smhd])+")
_SECONDS: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")
# as a browser writes it: lower case, the default port left out
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,62}(?:/[A-Za-z0-9._/-]{1,200})?")
_VIEW: Final = re.compile(r"([a-z_][a-z0-9_]{0,62})\.([a-z_][a-z0-9_]{0,62})(?:\(([a-z_][a-z0-9_, ]{0,200})\))?")
_FORMS: Final = "write a duration as seconds, '90m', '24h', '7d' or 'PT15S'"


def _read_duration(value: object) -> object:
    """Read ``90``, ``"90"``, ``90m`` and ``1h30m``; what else there is (ISO 8601) pydantic reads."""
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(_FORMS)
    if not isinstance(value, str):
        return value
    if _SECONDS.fullmatch(value):
        return float(value)
    if _WRITTEN.fullmatch(value):
        return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"([0-9]+)([smhd])", value))
    if not value.upper().startswith("P"):
        raise ValueError(_FORMS)
    return value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("it must be longer than zero")
    return value


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("it must not be negative")
    return value


def _address(schemes: tuple[str, ...], *, credentials_in: str | None = None) -> Callable[[V], V]:
    def check(value: V) -> V:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        form = f"it must look like {schemes[0]}://host:port"
        try:
            parts = urlsplit(text)
            good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            raise ValueError(form) from None
        if not good:
            raise ValueError(form)
        if credentials_in is not None and parts.username is not None:
            raise ValueError(f"it must not hold credentials: they belong into {credentials_in}")
        return value

    return check


def _operator_seed(value: SecretStr) -> SecretStr:
    from valhalla.kit.natsauth import KeyPair

    try:
        kind = KeyPair.from_seed(value.get_secret_value()).kind
    except Misconfigured:
        kind = None
    if kind != "operator":
        raise ValueError("it is no operator's nkey seed (SO…)")
    return value


def _cell_key(value: SecretStr) -> SecretStr:
    from valhalla.kit.cellkey import CellKey

    try:
        CellKey.parse(value.get_secret_value())
    except Misconfigured as problem:
        raise ValueError(problem.detail) from None
    return value


def _readable(value: Path) -> Path:
    try:
        value.read_bytes()
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from None
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError("it must be an address or a network such as 10.0.0.0/8") from None


def _origin(value: str) -> str:
    if value != "*" and _ORIGIN.fullmatch(value) is None:
        raise ValueError("it must look like https://console.example: scheme, host and port, no path")
    return value


def _bucket(value: str) -> str:
    if _BUCKET.fullmatch(value) is None:
        raise ValueError("it must look like s3://bucket or s3://bucket/prefix")
    return value


def _view(value: str) -> str:
    match = _VIEW.fullmatch(value)
    if match is None:
        raise ValueError("it must look like reporting.daily or reporting.daily(id)")
    if match[1] in ("valhalla", "valhalla_guard", "information_schema") or match[1].startswith("pg_"):
        raise ValueError("it must be a view of yours: what the control plane keeps is exported without it")
    return value


def _base_url(value: str) -> str:
    from valhalla.kit.outgoing_guard.rules import Base

    try:
        Base.parse(value)
    except ValueError as error:
        raise ValueError(str(error)) from None
    return value


def _private_host(value: str) -> str:
    from valhalla.kit.outgoing_guard.rules import PrivateHost

    PrivateHost.parse(value)
    return value


def _pem(value: Path) -> Path:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=value.read_text())
    except (OSError, ValueError):
        # an SSLError is an OSError
        raise ValueError("it holds no certificates in PEM") from None
    return value


def _issuer(value: str) -> str:
    from valhalla.kit.outgoing_guard.rules import Base, is_loopback

    base = Base.parse(_base_url(value))
    # what it answers decides who gets in: nobody on the way may change it
    if base.scheme != "https" and not is_loopback(base.host):
        raise ValueError("an issuer is asked over https; http is for one on this machine")
    return value


_AnyDuration = Annotated[timedelta, BeforeValidator(_read_duration), Field(le=timedelta(days=3650))]
Duration = Annotated[_AnyDuration, AfterValidator(_positive)]
DurationOrZero = Annotated[_AnyDuration, AfterValidator(_not_negative)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_address(("postgresql", "postgres")))]
ValkeyUrl = Annotated[SecretStr, AfterValidator(_address(("redis", "rediss")))]
NatsUrl = Annotated[str, AfterValidator(_address(("nats", "tls"), credentials_in="nats_system_creds"))]
HttpUrl = Annotated[str, AfterValidator(_address(("http", "https"), credentials_in="otlp_headers"))]
OperatorSeed = Annotated[SecretStr, AfterValidator(_operator_seed)]
CellKeyText = Annotated[SecretStr, AfterValidator(_cell_key)]
Network = Annotated[str, AfterValidator(_network)]
Origin = Annotated[str, AfterValidator(_origin)]
BucketUrl = Annotated[str, AfterValidator(_bucket)]
ExportView = Annotated[str, AfterValidator(_view)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
IssuerUrl = Annotated[str, AfterValidator(_issuer)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
PemFile = Annotated[ReadableFile, AfterValidator(_pem)]
PrivateHostText = Annotated[str, AfterValidator(_private_host)]
