"""Debian's bouncers and its agent, unchanged, against a served control plane."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.blocklist import PATH, block
from tests.server.conftest import Issue
from tests.server.crowdsec.debian import KEY, configure, free_port, needs, oracle, program, until, write
from tests.server.plane import Plane
from tests.server.serving import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
NAMESPACE = Path(__file__).parent / "namespace.py"


@pytest.fixture
async def place(plane: Plane, rules: str) -> AsyncIterator[str]:
    """Where the plane is served."""
    async with serving(plane.app) as address:
        yield address


def common(folder: Path, url: str, key: str) -> dict[str, Any]:
    """What the configurations of both bouncers have."""
    return {
        "update_frequency": "1s", "daemonize": False, "log_mode": "stdout", "log_level": "info", "api_url": url,
        "api_key": key, "prometheus": {"enabled": False}, "pid_dir": f"{folder}/", "piddir": f"{folder}/",
    }  # fmt: skip


@needs("crowdsec-custom-bouncer")
async def test_the_custom_bouncer_enforces_deletes_and_expires(
    admin: httpx.AsyncClient, issue: Issue, place: str, tmp_path: Path
) -> None:
    key = (await issue("bouncers", "bouncer"))["key"]
    told = tmp_path / "told"
    script = write(tmp_path / "enforce", f'#!/bin/sh\necho "$1 $2" >> {told}\n')
    script.chmod(0o700)
    members: dict[str, Any] = {"bin_path": str(script), "feed_via_stdin": False, "cache_retention_duration": "10s"}
    filters: dict[str, Any] = {"scenarios_containing": [], "scenarios_not_containing": [], "origins": []}
    config = write(tmp_path / "bouncer.yaml", common(tmp_path, f"http://{place}/", key) | members | filters)

    def has(line: str) -> bool:
        return told.exists() and line in told.read_text().split("\n")

    await block(admin, "ip", "192.0.2.21")
    async with program("crowdsec-custom-bouncer", "-c", str(config), log=tmp_path / "log"):
        await until(lambda: has("add 192.0.2.21"), "the first pull")
        await block(admin, "cidr", "192.0.2.32/28")
        await until(lambda: has("add 192.0.2.32/28"), "what is new")
        await admin.post(f"{PATH}/unblock", json={"type": "ip", "value": "192.0.2.21"})
        await until(lambda: has("del 192.0.2.21"), "what is taken back")
        soon = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
        await block(admin, "ip", "2001:db8::21", expires_at=soon)
        await until(lambda: has("add 2001:db8::21"), "what ends by itself")
        await until(lambda: has("del 2001:db8::21"), "that it has ended")
    assert not has("del 192.0.2.32/28")
    (seen,) = [
        one
        for one in (await admin.get("/system/security/crowdsec/bouncers")).json()["items"]
        if (one["agent"] or "").startswith("crowdsec-custom-bouncer")
    ][:1]
    assert seen["last_pull_at"]


def in_a_namespace_of_ones_own() -> bool:
    """Say whether this machine lets a user have a network of his own with a firewall in it."""
    if shutil.which("unshare") is None or shutil.which("nft") is None:
        return False
    probe = ["unshare", "-Urn", "nft", "add", "table", "ip", "probe"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def firewall(folder: Path, key: str, mode: str) -> Path:
    """Write the firewall bouncer's configuration, as Debian's is but for names."""
    members = {
        "mode": mode, "disable_ipv6": False, "deny_action": "DROP", "deny_log": False,
        "supported_decisions_types": ["ban"], "blacklists_ipv4": "blocked", "blacklists_ipv6": "blocked6",
        "ipset_type": "nethash", "iptables_chains": ["INPUT"],
        "nftables": {
            "ipv4": {"enabled": True, "set-only": False, "table": "crowdsec", "chain": "crowdsec-chain"},
            "ipv6": {"enabled": True, "set-only": False, "table": "crowdsec6", "chain": "crowdsec6-chain"},
        },
    }  # fmt: skip
    return write(folder / "bouncer.yaml", common(folder, "http://127.0.0.1:8080/", key) | members)


class Enclosed:
    """A network of its own, whose only way out is a socket to an LAPI: the machine's firewall is never touched."""

    def __init__(self, folder: Path) -> None:
        self.way_out, self._asked = folder / "lapi.sock", folder / "asked.sock"
        self._log = folder / "log"

    @asynccontextmanager
    async def enforcing(self, config: Path, lapi: str) -> AsyncIterator[None]:
        """Run a firewall bouncer in it that pulls from an address."""
        host, port = lapi.split(":")
        relay = await asyncio.start_unix_server(
            lambda reader, writer: _relay(reader, writer, host, int(port)), self.way_out
        )
        inside = ("unshare", "-Urn", sys.executable, str(NAMESPACE), str(self.way_out), str(self._asked))
        async with relay, program(*inside, "crowdsec-firewall-bouncer", "-c", str(config), log=self._log):
            await until(lambda: self.is_reached("192.0.2.22"), "the namespace")
            yield

    async def is_reached(self, address: str) -> bool:
        """Say whether packets from an address arrive."""
        return self._asked.exists() and await asyncio.to_thread(self._reached, address)

    async def is_cut(self, address: str) -> bool:
        """Say whether they do not."""
        return self._asked.exists() and not await asyncio.to_thread(self._reached, address)

    def _reached(self, address: str) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self._asked))
            client.sendall(f"{address}\n".encode())
            return bool(json.loads(client.makefile().readline()))


ENCLOSED = (
    needs("crowdsec-firewall-bouncer", "nft", "unshare"),
    pytest.mark.skipif(not in_a_namespace_of_ones_own(), reason="no network namespaces with nftables for users here"),
)


def enclosed(test: Any) -> Any:
    """Run a test where a user can have a network of his own with a firewall in it."""
    for mark in ENCLOSED:
        test = mark(test)
    return test


@enclosed
@pytest.mark.parametrize("mode", ["nftables", pytest.param("iptables", marks=needs("iptables", "ipset"))])
async def test_the_firewall_bouncer_drops_packets(
    admin: httpx.AsyncClient, issue: Issue, place: str, tmp_path: Path, mode: str
) -> None:
    key = (await issue("bouncers", "bouncer"))["key"]
    await block(admin, "ip", "192.0.2.21")
    there = Enclosed(tmp_path)
    async with there.enforcing(firewall(tmp_path, key, mode), place):
        await until(lambda: there.is_cut("192.0.2.21"), "the first pull")
        await block(admin, "cidr", "192.0.2.48/28")
        await until(lambda: there.is_cut("192.0.2.48"), "what is new")
        # with nftables a network is its first address to this program, whoever told it
        assert await (there.is_cut if mode == "iptables" else there.is_reached)("192.0.2.50")
        assert await there.is_reached("192.0.2.22")
        await admin.post(f"{PATH}/unblock", json={"type": "ip", "value": "192.0.2.21"})
        await until(lambda: there.is_reached("192.0.2.21"), "what is taken back")
        assert await there.is_cut("192.0.2.48")
        soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
        await block(admin, "ip", "192.0.2.22", expires_at=soon)
        await until(lambda: there.is_cut("192.0.2.22"), "what ends by itself")
        await until(lambda: there.is_reached("192.0.2.22"), "that it has ended")


@enclosed
@needs("crowdsec", "cscli")
async def test_with_debians_own_lapi_nftables_cut_no_networks_either(tmp_path: Path) -> None:
    """If this fails the bouncer has learned it, and docs/blocklist.md has a sentence too much."""
    there = Enclosed(tmp_path)
    async with oracle(tmp_path) as url:
        decide = ("cscli", "-c", str(tmp_path / "conf/config.yaml"), "decisions", "add", "--range", "192.0.2.48/28")
        await asyncio.to_thread(subprocess.run, decide, check=True, capture_output=True)
        async with there.enforcing(firewall(tmp_path, KEY, "nftables"), url.removeprefix("http://")):
            await until(lambda: there.is_cut("192.0.2.48"), "the first pull")
            assert await there.is_reached("192.0.2.50")


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    inner, outer = await asyncio.open_connection(host, port)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
        sink.close()

    await asyncio.gather(pump(reader, outer), pump(inner, writer), return_exceptions=True)


@needs("crowdsec", "cscli")
async def test_the_agent_feeds_us_from_a_log(
    admin: httpx.AsyncClient, issue: Issue, place: str, tmp_path: Path
) -> None:
    """Failed logins in a log of sshd; the agent's own parsers and scenarios; our blocklist."""
    key = (await issue("agents", "blocklist:write"))["key"]
    config = configure(
        tmp_path, port=free_port(), credentials={"url": f"http://{place}/", "login": "log-1", "password": key}
    )
    for folder, names in {
        "parsers/s00-raw": ["syslog-logs"],
        "parsers/s01-parse": ["sshd-logs"],
        "parsers/s02-enrich": ["dateparse-enrich"],
        "scenarios": ["ssh-bf"],
    }.items():
        (tmp_path / "conf" / folder).mkdir(parents=True)
        for name in names:
            link = tmp_path / "conf" / folder / f"{name}.yaml"
            link.symlink_to(tmp_path / "hub" / folder / "crowdsecurity" / f"{name}.yaml")
    log = write(tmp_path / "auth.log", "")
    write(tmp_path / "conf/acquis.yaml", {"filenames": [str(log)], "labels": {"type": "syslog"}})

    async def is_blocked() -> bool:
        return (await admin.get(f"{PATH}/ip:192.0.2.66")).status_code == 200

    async with program("crowdsec", "-c", str(config), "-no-api", log=tmp_path / "log"):
        await until(lambda: "Starting processing data" in (tmp_path / "log").read_text(), "the agent has started")
        with log.open("a") as out:
            for number in range(12):
                at = datetime.now(UTC).strftime("%b %d %H:%M:%S")
                tail = f"from 192.0.2.66 port {40_000 + number} ssh2"
                out.write(f"{at} web sshd[{900 + number}]: Failed password for invalid user root {tail}\n")
        await until(is_blocked, "the agent reports who guesses passwords")
        rule = (await admin.get(f"{PATH}/ip:192.0.2.66")).json()
        await until(lambda: _beats(admin), "a heartbeat", 90)
    assert (rule["reason"], rule["source"], rule["remediation"]) == ("crowdsecurity/ssh-bf", "crowdsec", "ban")
    assert timedelta(hours=3) < datetime.fromisoformat(rule["expires_at"]) - datetime.now(UTC) < timedelta(hours=5)
    # what else the stock tool asks of an LAPI
    for words, wanted in (
        (("lapi", "status"), "You can successfully interact with Local API"),
        (("alerts", "list", "-o", "raw"), "192.0.2.66"),
        (("alerts", "list", "--ip", "192.0.2.66", "-o", "raw"), "crowdsecurity/ssh-bf"),
        (("decisions", "list", "-o", "raw"), "Ip:192.0.2.66"),
        (("decisions", "add", "--ip", "192.0.2.67", "--duration", "2h"), "Decision successfully added"),
        (("decisions", "delete", "--ip", "192.0.2.66"), "1 decision(s) deleted"),
    ):
        done = await asyncio.to_thread(
            subprocess.run, ["cscli", "-c", str(config), *words], capture_output=True, text=True, check=False
        )
        assert wanted in done.stdout + done.stderr, (words, done)
    assert not await is_blocked()
    assert (await admin.get(f"{PATH}/ip:192.0.2.67")).json()["source"] == "cscli"


async def _beats(admin: httpx.AsyncClient) -> bool:
    agents = (await admin.get("/system/security/crowdsec/agents")).json()["items"]
    return any(one["machine_id"] == "log-1" and one["heartbeat_at"] for one in agents)
