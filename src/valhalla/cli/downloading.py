"""Files of an export, brought here: streamed, gone on with after an interruption, checked against the manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from valhalla.sdk import connecting
from valhalla.sdk.client import Client
from valhalla.sdk.errors import ApiProblem
from valhalla.sdk.wire import Request, interpret

_BLOCK: Final = 2**20
_TIMEOUT: Final = 60.0


def download(
    client: Client, export: dict[str, Any], links: dict[str, Any], folder: Path, told: Callable[[int], None]
) -> list[Path]:
    """Write every file of an export into ``folder``; return their paths. ``told`` hears of every block's bytes.

    A file that is there and is what the manifest says is left as it is; half of one is gone on with.

    Raises:
        ApiProblem: a file is refused, is not what the manifest says, or finds no room here.
        Unreachable: nobody answers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    expected = {file["name"]: file["sha256"] for file in export["files"]}
    addresses = {link["name"]: link["url"] for link in links["items"]}
    found: list[Path] = []
    # the manifest comes last, here too
    for name in sorted(addresses, key=lambda name: name not in expected):
        target = folder / (name if name in expected else f"{export['id']}.{name}")
        digest = expected.get(name)
        if digest is None or not target.is_file() or _digest(target) != digest:
            _fetch(client, addresses[name], target, told)
            if digest is not None and _digest(target) != digest:
                target.unlink()
                raise ApiProblem("download-damaged", 502, f"{name} is not what the manifest says", "Download it again.")
        found.append(target)
    return found


def _fetch(client: Client, address: str, target: Path, told: Callable[[int], None]) -> None:
    import httpx

    part = target.with_name(f".{target.name}.part")
    there = part.stat().st_size if part.is_file() else 0
    url = address if "://" in address else client.endpoint.url.rstrip("/") + address
    headers = {"Range": f"bytes={there}-"} if there else {}
    try:
        # the address is the key: ours is not sent to whoever gives the file out
        with (
            httpx.Client(**connecting.options(client.endpoint.url, None, _TIMEOUT)) as plain,
            plain.stream("GET", url, headers=headers) as response,
        ):
            if response.status_code == 416:
                part.unlink()
                return _fetch(client, address, target, told)
            if response.status_code not in (200, 206):
                interpret(Request("GET", address.partition("?")[0], dict), response.status_code, response.read())
            mode = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if response.status_code == 206 else os.O_TRUNC)
            with os.fdopen(os.open(part, mode, 0o600), "wb") as file:
                for block in response.iter_bytes(_BLOCK):
                    file.write(block)
                    told(len(block))
    except httpx.TransportError as error:
        raise connecting.failure(client.endpoint.url, error) from error
    except OSError as error:
        raise ApiProblem(
            "download-not-written", 507, f"{part} cannot be written: {error.strerror}", "Make room, and download again."
        ) from error
    part.rename(target)
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
