"""The way into a sandbox: its environment, asked for only while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from valhalla.cli.failures import Refusal
from valhalla.sdk.access import Connection
from valhalla.sdk.client import Client
from valhalla.sdk.models import Sandbox


@dataclass(frozen=True, slots=True)
class Entry:
    """A running sandbox with the connection to it."""

    sandbox: Sandbox
    connection: Connection

    @property
    def creds(self) -> str | None:
        """The text of the NATS credentials file, when the sandbox has one."""
        return self.connection.nats.creds if self.connection.nats else None

    def env(self, creds_file: object | None) -> dict[str, str]:
        """Return the variables; ``creds_file`` is where the NATS credentials were put."""
        extra = {} if creds_file is None else {"NATS_CREDS": str(creds_file)}
        return {**self.connection.env, **extra}


def enter(client: Client, name: str) -> Entry:
    """Ask for the way into a sandbox.

    Raises:
        Refusal: it is not running.
        ApiProblem: it does not exist, or is not the caller's.
    """
    sandbox = client.get(name)
    if sandbox.status != "running":
        hint = "'valhalla sandbox status' says more; 'valhalla sandbox new' makes another."
        raise Refusal("sandbox-not-running", f"the sandbox '{name}' is {sandbox.status}, not running", hint)
    return Entry(sandbox, client.connection(sandbox.id))
