"""A drill: a scripted attacker against a control plane of its own, and what becomes of him.

Run it: ``python examples/attack_drill.py``. It starts a control plane behind a proxy that it plays itself, so that it
can be at several addresses, and removes it at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from valhalla import Client

SCANNER, GUESSER, THIEF, CRACKER, CUSTOMER = (f"203.0.113.{number}" for number in (10, 20, 30, 40, 50))


@contextlib.contextmanager
def control_plane() -> Generator[Client]:
    """Lend a control plane that is there for this program alone."""
    folder = Path(tempfile.mkdtemp(prefix="vh-drill-"))
    # started by root, the servers run under an account of their own
    folder.chmod(0o711)
    command = [sys.executable, "-m", "valhalla.cli", "--data-dir", str(folder / "data")]
    behind = {**os.environ, "VALHALLA_TRUSTED_PROXIES": '["127.0.0.0/8"]'}
    try:
        subprocess.run([*command, "up", "--detach"], check=True, capture_output=True, env=behind)
        with Client(data_dir=folder / "data") as client:
            yield client
    finally:
        subprocess.run([*command, "down"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


class Street:
    """Everybody who comes by, each from an address of his own."""

    def __init__(self, client: Client) -> None:
        self._url = client.endpoint.url

    def ask(self, address: str, path: str, *, key: str | None = None, claims: str | None = None) -> httpx.Response:
        """Ask from an address; ``claims`` is what the caller himself says of where he is."""
        hops = address if claims is None else f"{claims}, {address}"
        headers = {"X-Forwarded-For": hops} | ({} if key is None else {"Authorization": f"Bearer {key}"})
        return httpx.get(f"{self._url}{path}", headers=headers, timeout=20)

    def is_out(self, address: str) -> bool:
        """Say whether an address is shut out, after a moment for it to be."""
        return until(lambda: self.ask(address, "/docs").status_code == 403)


def until(check: Callable[[], bool]) -> bool:
    """Wait up to ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.02)
    return False


def attack(client: Client, street: Street) -> None:
    """Scan, guess, steal, and be watched elsewhere."""
    print("1. A scanner tries what scanners try; the decoys look real.")
    for path in ("/.env", "/wp-login.php", "/.git/config"):
        print("  ", path, street.ask(SCANNER, path, claims=CUSTOMER).status_code)
    print("   shut out:", street.is_out(SCANNER))
    print("   and the customer whose address it claimed:", street.ask(CUSTOMER, "/docs").status_code)

    print("2. The mode is raised for ten minutes; then somebody guesses keys.")
    raised = client.policies.set_mode({"mode": "elevated", "reason": "the drill", "lasting_seconds": 600})
    answers = [street.ask(GUESSER, "/api/sandboxes", key=f"vh_local_{number}").status_code for number in range(12)]
    print("  ", raised["mode"], answers.count(401), "wrong keys, then", answers[-1])
    print("   shut out:", street.is_out(GUESSER))

    print("3. A thief finds a key where only thieves look.")
    bait = client.honeypots.decoy_key({"name": "ci-backup", "description": "in the wiki"})["key"]
    print("  ", street.ask(THIEF, "/api/sandboxes", key=bait).status_code, "- it is nobody's")
    print("   shut out:", street.is_out(THIEF))

    print("4. A sensor elsewhere reports somebody who has not been here yet.")
    sensor = client.registry("honeypots").create({"name": "dmz-ssh", "type": "cowrie"})["key"]
    line = {"timestamp": datetime.now(UTC).isoformat(), "src_ip": CRACKER, "session": "1", "eventid": ""}
    seen = [{**line, "eventid": f"cowrie.{what}"} for what in ("login.success", "command.input")]
    sent = "\n".join(json.dumps(one) for one in seen)
    for _ in range(2):
        answer = httpx.post(
            f"{client.endpoint.url}/system/security/honeypots/events/cowrie",
            content=sent,
            headers={"Authorization": f"Bearer {sensor}", "X-Forwarded-For": "198.51.100.1"},
        ).json()
        print("   accepted", answer["accepted"], "- sent before", answer["duplicates"])
    print("   shut out:", street.is_out(CRACKER))


def what_operators_see(client: Client) -> None:
    """Show the blocklist, the alerts and the ledger; then let everybody in again."""
    print("5. What operators see.")
    rules: Any = client.registry("blocklist")
    blocked = sorted(rules.iterate(), key=lambda one: one["value"])
    for rule in blocked:
        print("  ", rule["value"], "blocked by", rule["source"])
    wanted = {"decoy.touched", "decoy.key_used", "honeypot.caught", "policy.blocked", "security.elevated"}
    until(lambda: wanted <= {one.name for one in client.alerts.iterate()})
    print("   alerts:", ", ".join(sorted(wanted & {one.name for one in client.alerts.iterate()})))
    ledger = sorted({one.action for one in client.audit() if one.action.startswith(("policy.", "decoy.", "security."))})
    print("   ledger:", ", ".join(ledger))
    for rule in blocked:
        rules.delete(rule["key"], reason="the drill is over")
    print("   mode:", client.policies.set_mode({"mode": "normal", "reason": "the drill is over"})["mode"])


def main() -> None:
    """Run the drill."""
    with control_plane() as client:
        street = Street(client)
        attack(client, street)
        what_operators_see(client)
        print("6. It is over:", street.ask(SCANNER, "/docs").status_code)


if __name__ == "__main__":
    main()
