"""NATS: a publication is handed to a task that was there before, so only the call itself knows who publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from valhalla.guard.egress.hooks.patching import Patches, before

if TYPE_CHECKING:
    from types import ModuleType

    from valhalla.guard.egress.seal import Seal


def _publish(seal: Seal, client: Any, subject: str, payload: bytes = b"", *args: Any, **kwargs: Any) -> None:
    del args, kwargs
    url = client.connected_url
    host, port = (url.hostname or "?", url.port or 4222) if url is not None else ("?", None)
    seal.request(f"publish {subject}", f"{host}:{port}", (host, port), reads=False, body=payload)


def nats(patches: Patches, module: ModuleType) -> None:
    """Hook nats-py; requests and JetStream publish through the same call."""
    patches.replace(module.Client, "publish", before(_publish))
