"""HTTP clients: methods that only read pass, everything else is held with its body's beginning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode, urlsplit

from valhalla.guard.egress import excerpts
from valhalla.guard.egress.audit.lines import READS
from valhalla.guard.egress.endpoints import UNIX
from valhalla.guard.egress.hooks.patching import Patches, before

if TYPE_CHECKING:
    from types import ModuleType

    from valhalla.guard.egress.seal import Seal

_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def _judge(seal: Seal, method: object, url: str, body: object, size: int | None, upgrade: bool = False) -> None:
    verb = (method.decode("latin-1") if isinstance(method, bytes) else str(method)).upper()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "?", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        host, port = "?", None
    # an upgraded connection carries anything afterwards
    reads = verb in READS and not upgrade and not body
    seal.request(verb, excerpts.url(url), (host, port), reads=reads, size=size, body=body)


def _number(text: object) -> int | None:
    try:
        return int(cast("Any", text))
    except (TypeError, ValueError):
        return None


def _pool(seal: Seal, pool: Any, request: Any) -> None:
    headers = {bytes(k).lower(): bytes(v) for k, v in cast("Iterable[tuple[bytes, bytes]]", request.headers)}
    target = bytes(request.url.target).decode("latin-1")
    host, scheme = bytes(request.url.host).decode("latin-1"), bytes(request.url.scheme).decode("latin-1")
    port = request.url.port or _PORTS.get(scheme)
    url = target if "://" in target else f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{target}"
    # httpx hands bodies of bytes over in a stream that keeps them
    body = getattr(request.stream, "_stream", None)
    size = _number(headers.get(b"content-length"))
    _judge(seal, request.method, url, body if isinstance(body, bytes) else None, size, b"upgrade" in headers)
    del pool


def httpcore(patches: Patches, module: ModuleType) -> None:
    """Hook httpcore's pools: httpx and every SDK on it."""
    patches.replace(module.ConnectionPool, "handle_request", before(_pool))
    patches.replace(module.AsyncConnectionPool, "handle_async_request", before(_pool))


def _prepared(seal: Seal, adapter: Any, request: Any, *args: Any, **kwargs: Any) -> None:
    del adapter, args, kwargs
    _judge(seal, request.method, request.url, request.body, _number(request.headers.get("Content-Length", 0)))


def requests(patches: Patches, module: ModuleType) -> None:
    """Hook the transport of requests."""
    patches.replace(module.HTTPAdapter, "send", before(_prepared))


def _urlopen(seal: Seal, pool: Any, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
    del args, kwargs
    full = url if "://" in url else f"{pool.scheme}://{pool.host}:{pool.port}{url}"
    _judge(seal, method, full, body, excerpts.size_of(body))


def urllib3(patches: Patches, module: ModuleType) -> None:
    """Hook the pools of urllib3: botocore and many SDKs."""
    patches.replace(module.HTTPConnectionPool, "urlopen", before(_urlopen))


def _request(seal: Seal, client: Any, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
    del args, kwargs
    _judge(seal, method, _full(client, url), body, excerpts.size_of(body))


def _putrequest(seal: Seal, client: Any, method: str, url: str, *args: Any, **kwargs: Any) -> None:
    del args, kwargs
    # a read may still have a body: its chunks go through send(), which cannot tell them apart
    if method.upper() not in READS:
        _judge(seal, method, _full(client, url), None, None)


def _full(client: Any, url: str) -> str:
    # inside a tunnel the connection's own host is the proxy
    host, port = getattr(client, "_tunnel_host", None) or client.host, client.port
    return url if "://" in url else f"http://{f'[{host}]' if ':' in host else host}:{port}{url}"


def http_client(patches: Patches, module: ModuleType) -> None:
    """Hook the standard library's client: urllib, and what builds on it by hand."""
    patches.replace(module.HTTPConnection, "request", before(_request))
    patches.replace(module.HTTPConnection, "putrequest", before(_putrequest))


def _aiohttp(seal: Seal, session: Any, method: str, url: Any, **kwargs: Any) -> None:
    base: Any = getattr(session, "_base_url", None)
    full = str(base.join(type(base)(str(url)))) if base is not None and "://" not in str(url) else str(url)
    given: Any = kwargs.get("data")
    body: object = _as_json(kwargs["json"]) if kwargs.get("json") is not None else given
    if type(given) is dict:
        body = urlencode(cast("dict[str, Any]", given))
    given_headers: Any = kwargs.get("headers") or {}
    headers = {str(name).lower() for name in given_headers}
    path: Any = getattr(getattr(session, "_connector", None), "_path", None)
    if isinstance(path, str):
        reads = method.upper() in READS and not body
        seal.request(method.upper(), UNIX + path, (UNIX + path, None), reads=reads, body=body)
        return
    _judge(seal, method, full, body, excerpts.size_of(body), "upgrade" in headers)


def _as_json(value: object) -> str:
    import json

    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return f"[{type(value).__name__}]"


def aiohttp(patches: Patches, module: ModuleType) -> None:
    """Hook aiohttp's client."""
    patches.replace(module.ClientSession, "_request", before(_aiohttp))
