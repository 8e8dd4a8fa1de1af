"""The embedded Valkey 9: a cluster of one node, so that a sandbox's keys are one slot."""

from __future__ import annotations

import hashlib
import signal
from typing import ClassVar, Final

from valhalla.embedded.accounts import private_file, private_folder
from valhalla.embedded.binaries import valkey_program
from valhalla.embedded.ports import HOST
from valhalla.embedded.process import Child, Ladder, Program
from valhalla.embedded.resp import Connection, RefusedError
from valhalla.embedded.server import Server, Sign, Site, Steps
from valhalla.kit.cellkey import CellKey

ADMIN: Final = "valhalla"

_CONFIG: Final = """\
bind 127.0.0.1
port {port}
protected-mode yes
daemonize no
dir "{data}"
loglevel notice
hide-user-data-from-log yes
cluster-enabled yes
cluster-config-file nodes.conf
cluster-announce-ip 127.0.0.1
cluster-require-full-coverage no
appendonly yes
appendfsync everysec
save ""
# caps what SETRANGE and its like can allocate with one call
proto-max-bulk-len 1mb
acl-pubsub-default resetchannels
user default reset off
user {admin} reset on #{digest} ~* &* +@all
"""


def admin_password(cell: CellKey) -> str:
    """Return the administrator's password: secret."""
    return cell.password("embedded.valkey.admin")


def admin_url(cell: CellKey, port: int) -> str:
    """Return the administrator's URL: secret."""
    return f"redis://{ADMIN}:{admin_password(cell)}@{HOST}:{port}/0"


class Valkey(Server):
    """Runs ``valkey-server`` on ``<data_dir>/valkey``."""

    name: ClassVar[str] = "valkey"
    ladder: ClassVar[Ladder] = ((signal.SIGTERM, 8), (signal.SIGKILL, 2))

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._binary = valkey_program()
        self._data = self.folder / "data"

    @property
    def password(self) -> str:
        """The administrator's password: secret."""
        return admin_password(self.site.cell)

    @property
    def url(self) -> str:
        """The administrator's URL: secret."""
        return admin_url(self.site.cell, self.port)

    def prepare(self) -> Steps:
        """Make the folder of its data."""
        private_folder(self._data, self.site.account)
        yield

    def configure(self) -> Program:
        """Write ``valkey.conf``, which holds the password's hash only."""
        config = self.folder / "valkey.conf"
        text = _CONFIG.format(
            port=self.port,
            data=quoted(str(self._data)),
            admin=ADMIN,
            digest=hashlib.sha256(self.password.encode()).hexdigest(),
        )
        private_file(config, text, self.site.account)
        command = (str(self._binary), str(config))
        return Program(command, self.site.log(self.name), signal.SIGTERM, self.site.account, (self.folder,))

    def look(self, child: Child) -> Sign:
        """Log in, and give the node all slots when it has none yet."""
        try:
            with self._connect() as server:
                if "cluster_slots_assigned:16384" not in server.call("CLUSTER", "INFO"):
                    server.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        except RefusedError as refusal:
            # somebody else's server refuses our password, and then ours is about to end
            return "busy" if str(refusal).startswith("LOADING") else "silent"
        except OSError:
            return "silent"
        return "ready"

    def settle(self) -> Steps:
        """Yield until keys can be written.

        A node that starts refuses that for two seconds, to meet the rest of its cluster first (a constant in the
        server); users and slots can be set up meanwhile.
        """
        while self.pid is not None:
            try:
                with self._connect() as server:
                    if "cluster_state:ok" in server.call("CLUSTER", "INFO"):
                        return
            except (RefusedError, OSError):
                pass
            yield

    def _connect(self) -> Connection:
        server = Connection(self.port)
        try:
            server.call("AUTH", ADMIN, self.password)
        except BaseException:
            server.close()
            raise
        return server


def quoted(text: str) -> str:
    """Escape ``text`` for double quotes in a configuration file of Valkey or NATS."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
