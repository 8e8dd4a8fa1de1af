"""SMTP: a message is held before its envelope is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from valhalla.guard.egress import excerpts
from valhalla.guard.egress.hooks.patching import Patches, before

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from valhalla.guard.egress.seal import Seal


def _sendmail(
    seal: Seal, client: Any, from_addr: str, to_addrs: str | Sequence[str], msg: Any, *args: Any, **kwargs: Any
) -> None:
    del args, kwargs
    receivers = [to_addrs] if isinstance(to_addrs, str) else list(to_addrs)
    what = f"mail from {from_addr} to {', '.join(receivers[:5])}" + (" and others" if len(receivers) > 5 else "")
    host, port = _server(client)
    seal.request(excerpts.words(what), f"{host}:{port}", (host, port), reads=False, body=msg)


def _server(client: Any) -> tuple[str, int | None]:
    try:
        return cast("tuple[str, int]", client.sock.getpeername()[:2])
    except (OSError, AttributeError):
        return str(getattr(client, "_host", "") or "?"), None


def smtplib(patches: Patches, module: ModuleType) -> None:
    """Hook the standard library's client; its single commands are judged by the audit hook."""
    patches.replace(module.SMTP, "sendmail", before(_sendmail))
