"""Debian's crowdsec programs as tests start them: unchanged, with folders of their own, nothing of the machine's."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

HUB: Final = Path("/usr/share/crowdsec/hub")
MACHINE, PASSWORD, KEY = "web-1", "a-password-of-a-test", "a-key-of-a-test"


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where Debian's packages are not installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    why = f"needs {', '.join(missing)}: apt-get install crowdsec crowdsec-custom-bouncer crowdsec-firewall-bouncer"
    return pytest.mark.skipif(bool(missing), reason=why)


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def write(path: Path, document: Any) -> Path:
    """Write a configuration that only its program can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    path.chmod(0o600)
    return path


@asynccontextmanager
async def program(*command: str, log: Path, env: Mapping[str, str] | None = None) -> AsyncGenerator[Any]:
    """Run a program until the block ends; it is killed with what it started."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=out, stderr=out, start_new_session=True, env={**os.environ, **(env or {})}
        )
    try:
        yield process
    except BaseException:
        # what pytest shows of a test that failed
        print(log.read_text(errors="replace")[-3000:])
        raise
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


def configure(folder: Path, *, credentials: Mapping[str, str] | None, port: int) -> Path:
    """Write crowdsec's configuration: no central API, the offline hub, everything below ``folder``."""
    for name in ("conf", "data", "plugins", "conf/notifications"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copytree(HUB, folder / "hub", dirs_exist_ok=True)
    (folder / "conf/patterns").symlink_to("/etc/crowdsec/patterns")
    write(folder / "conf/simulation.yaml", "simulation: off\n")
    shutil.copy("/etc/crowdsec/profiles.yaml", folder / "conf/profiles.yaml")
    write(folder / "conf/client.yaml", dict(credentials or {}))
    return write(
        folder / "conf/config.yaml",
        {
            "common": {"daemonize": False, "log_media": "stdout", "log_level": "info", "working_dir": "."},
            "config_paths": {
                "config_dir": f"{folder}/conf/",
                "data_dir": f"{folder}/data/",
                "simulation_path": f"{folder}/conf/simulation.yaml",
                "hub_dir": f"{folder}/hub/",
                "index_path": f"{folder}/hub/.index.json",
                "notification_dir": f"{folder}/conf/notifications/",
                "plugin_dir": f"{folder}/plugins/",
            },
            "crowdsec_service": {"acquisition_path": f"{folder}/conf/acquis.yaml", "parser_routines": 1},
            "db_config": {"log_level": "info", "type": "sqlite", "db_path": f"{folder}/data/c.db", "use_wal": True},
            "api": {
                "client": {"insecure_skip_verify": False, "credentials_path": f"{folder}/conf/client.yaml"},
                "server": {
                    "log_level": "info",
                    "listen_uri": f"127.0.0.1:{port}",
                    "profiles_path": f"{folder}/conf/profiles.yaml",
                },
            },
            "prometheus": {"enabled": False},
        },
    )


@asynccontextmanager
async def oracle(folder: Path) -> AsyncGenerator[str]:
    """Run Debian's own LAPI with a machine and a bouncer, and yield its address."""
    port = free_port()
    config = configure(folder, credentials=None, port=port)
    made = str(folder / "conf/client.yaml")
    for words in (
        ("machines", "add", MACHINE, "--password", PASSWORD, "-f", made, "--force"),
        ("bouncers", "add", "bouncer-1", "-k", KEY),
    ):
        subprocess.run(["cscli", "-c", str(config), *words], check=True, capture_output=True)
    async with program("crowdsec", "-c", str(config), "-no-cs", log=folder / "lapi.log"):
        url = f"http://127.0.0.1:{port}"
        await until_up(url)
        yield url


async def until_up(url: str) -> None:
    """Wait until a server answers."""
    async with httpx.AsyncClient() as client:
        for _ in range(300):
            try:
                await client.get(f"{url}/health")
                return
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    pytest.fail(f"{url} does not answer")


async def until(true: Any, why: str, seconds: float = 60.0) -> None:
    """Wait until ``true()`` is; what it awaits is awaited."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = true()
                if await found if asyncio.iscoroutine(found) else found:
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"never seen: {why}")
