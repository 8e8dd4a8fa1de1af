"""The embedded NATS server: operator mode with the full resolver, JetStream on, no monitoring port."""

from __future__ import annotations

import base64
import json
import signal
import socket
from typing import ClassVar, Final

from valhalla.embedded.accounts import private_file, private_folder
from valhalla.embedded.binaries import nats_program
from valhalla.embedded.contracts import NatsTrust
from valhalla.embedded.ports import HOST
from valhalla.embedded.process import Child, Ladder, Program
from valhalla.embedded.server import Server, Sign, Site, Steps
from valhalla.embedded.valkey import quoted

# The server reserves an account's whole storage limit when its first client connects, used or not, so its own maxima
# are the sum over all sandboxes, not what the machine has.
_CONFIG: Final = """\
server_name: "{name}"
host: "127.0.0.1"
port: {port}
max_payload: 1MB
operator: "{operator}"
system_account: "{system}"
resolver: {{ type: full, dir: "{tokens}", allow_delete: true, interval: "2m", limit: 100000 }}
jetstream: {{ store_dir: "{store}", max_memory_store: 1TB, max_file_store: 1TB }}
"""


class Nats(Server):
    """Runs ``nats-server`` on ``<data_dir>/nats``."""

    name: ClassVar[str] = "nats"
    ladder: ClassVar[Ladder] = ((signal.SIGTERM, 8), (signal.SIGKILL, 2))

    def __init__(self, site: Site, trust: NatsTrust) -> None:
        super().__init__(site)
        self._binary = nats_program()
        self._trust = trust
        self._server_name = f"valhalla-{site.cell.cell}"
        self.tokens = self.folder / "jwt"

    @property
    def url(self) -> str:
        """The URL for clients; credentials come with each user's token."""
        return f"nats://{HOST}:{self.port}"

    def prepare(self) -> Steps:
        """Lay down the accounts' tokens, except where the resolver holds a newer one (with revocations, say)."""
        private_folder(self.tokens, self.site.account)
        for account, token in self._trust.accounts.items():
            path = self.tokens / f"{account}.jwt"
            present = path.read_text().strip() if path.exists() else ""
            if present != token and _issued_at(present) <= _issued_at(token):
                private_file(path, token, self.site.account)
        yield

    def configure(self) -> Program:
        """Write ``nats.conf``."""
        config = self.folder / "nats.conf"
        text = _CONFIG.format(
            name=self._server_name,
            port=self.port,
            operator=self._trust.operator_jwt,
            system=self._trust.system_account,
            tokens=quoted(str(self.tokens)),
            store=quoted(str(self.folder)),
        )
        private_file(config, text, self.site.account)
        command = (str(self._binary), "-c", str(config))
        return Program(command, self.site.log(self.name), signal.SIGTERM, self.site.account, (self.folder,))

    def look(self, child: Child) -> Sign:
        """Read the greeting, which must be this cell's and offer JetStream."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as server, server.makefile("rb") as file:
                verb, _, body = file.readline().partition(b" ")
        except OSError:
            return "silent"
        if verb != b"INFO":
            return "silent"
        try:
            greeting = json.loads(body)
        except ValueError:
            return "silent"
        return "ready" if greeting.get("server_name") == self._server_name and greeting.get("jetstream") else "silent"


def _issued_at(token: str) -> int:
    """Return the ``iat`` (unix seconds) of a token, or 0 for what is none."""
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return int(claims["iat"])
    except (IndexError, KeyError, TypeError, ValueError):
        return 0
