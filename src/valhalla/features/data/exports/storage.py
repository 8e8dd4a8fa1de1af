"""Where files of exports are: a folder of the data directory, and if it is set, S3-compatible storage after that."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

from valhalla.features.data.exports.errors import StorageAway
from valhalla.kernel.ids import is_id
from valhalla.kernel.problems import Misconfigured
from valhalla.kit.settings import Settings

MANIFEST: Final = "manifest.json"
_PART: Final = 8 * 2**20


class Local:
    """A folder per export, which only the control plane's user can read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, id_: str) -> Path:
        """Return the folder of an export; whether it is there, nobody says."""
        return self._root / id_

    def make(self, id_: str) -> Path:
        """Return the folder, made if it was not there."""
        self._root.mkdir(mode=0o700, exist_ok=True)
        folder = self.folder(id_)
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def clear(self, id_: str) -> None:
        """Remove everything of an export."""
        shutil.rmtree(self.folder(id_), ignore_errors=True)

    def there(self) -> list[tuple[str, float]]:
        """Return the exports that have folders, and when something last came or went there (seconds since 1970)."""
        if not self._root.is_dir():
            return []
        return [(one.name, one.stat().st_mtime) for one in self._root.iterdir() if is_id(one.name)]

    def write(self, id_: str, name: str, data: bytes) -> None:
        """Write a small file whole, or not at all."""
        folder = self.folder(id_)
        staged = folder / f".{name}"
        staged.unlink(missing_ok=True)
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staged.rename(folder / name)
        (folder / ".lock").unlink(missing_ok=True)


class Bucket:
    """S3-compatible storage below a prefix; every call is a thread's, since the client blocks."""

    def __init__(self, url: str, **options: Any) -> None:
        """``url`` is ``s3://bucket/prefix``."""
        try:
            from obstore.store import S3Store
        except ImportError as error:
            raise Misconfigured(
                "exports in S3 need the extra 's3'",
                help="Install it: pip install 'valhalla[s3]'.",
                setting="export_store",
            ) from error
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._store: Any = S3Store(bucket, prefix=prefix.rstrip("/") or None, **options)

    async def upload(self, folder: Path, id_: str, names: Iterable[str]) -> None:
        """Copy files there, large ones in parts.

        Raises:
            StorageAway: it does not take them.
        """
        import obstore

        for name in names:
            await self._call(obstore.put, self._store, f"{id_}/{name}", folder / name, chunk_size=_PART)

    async def link(self, id_: str, name: str, lasting: timedelta) -> str:
        """Return an address that gives the file to whoever has it."""
        import obstore

        sign: Any = obstore.sign
        return await self._call(sign, self._store, "GET", f"{id_}/{name}", lasting)

    async def clear(self, id_: str, names: Iterable[str]) -> None:
        """Remove files; what is not there is no error.

        Raises:
            StorageAway: it does not answer.
        """
        import obstore

        paths = [f"{id_}/{name}" for name in names]
        if paths:
            await self._call(obstore.delete, self._store, paths)

    async def _call(self, work: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except FileNotFoundError as error:
            raise StorageAway("it has no such file or bucket") from error
        except Exception as error:
            raise StorageAway(f"{type(error).__name__}") from error


def kind_of(settings: Settings) -> Literal["local", "s3"]:
    """Return where finished files go."""
    return "local" if settings.export_store is None else "s3"


def bucket(settings: Settings) -> Bucket | None:
    """Return the storage that is set.

    Raises:
        Misconfigured: its client is not installed.
    """
    if settings.export_store is None:
        return None
    options: dict[str, Any] = {}
    for name, value in (
        ("endpoint", settings.export_s3_endpoint),
        ("region", settings.export_s3_region),
        ("access_key_id", settings.export_s3_key),
        ("secret_access_key", settings.export_s3_secret),
    ):
        if value is not None:
            options[name] = value if isinstance(value, str) else value.get_secret_value()
    if (settings.export_s3_endpoint or "").startswith("http://"):
        options["client_options"] = {"allow_http": True}
    return Bucket(settings.export_store, **options)
