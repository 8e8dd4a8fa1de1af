"""``docs/settings.md``, written from the settings themselves: ``python -m valhalla.server.settings_page > …``."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo

from valhalla.kit.settings import PREFIX, Settings

_HEAD: Final = """\
# Settings

<!-- Made by `python -m valhalla.server.settings_page > docs/settings.md`. -->

Each setting can be said in three places; the first of them wins:

1. on the command line: `valhalla up --port 8420`, or `--set NAME=VALUE` for any of them
2. in the environment: `VALHALLA_PORT=8420`
3. in `valhalla.toml` in the current directory, or the file that `--config` names: `port = 8420`

An unknown name or a bad value stops the start; the message says which and why, and never repeats a value. A duration
is a number of seconds, `90m`, `24h`, `7d`, `1h30m`, or ISO 8601 (`PT15S`). Secrets belong into the environment or into
a file with mode 0600, not on the command line, which others on the machine can read.

| setting | default | what it is |
| --- | --- | --- |
"""
_FOOT: Final = """
## Servers of your own

- **PostgreSQL 16 or newer** (`database_url`): make role, database and hardened template with `valhalla db bootstrap`
  and a superuser's URL once; it prints the URL to set. Without that, any role with CREATEROLE and CREATEDB will do, and
  `/ready`, `valhalla doctor` and the start tell what is then not enforced.
- **Valkey 8 or Redis 7, or newer** (`valkey_url`): an administrator's URL; `rediss://` for TLS.
- **NATS** (`nats_url`, `nats_operator_seed`, `nats_system_creds`): a server in operator mode with JetStream and a full
  resolver that has `allow_delete`, the seed of its operator (or a signing key), and a user of its system account.
  `tls://host:port` is TLS for the control plane, ingresses and routers: the server must ask for it, and its certificate
  be signed by a CA of the system's or of `nats_ca_file`; `nats_client_cert` and `nats_client_key` where it wants to
  know its clients. `nats://` to a server that asks for TLS is refused; `handshake_first` is not spoken.

Binding anything but loopback needs `tls_cert` and `tls_key`, or `allow_plaintext` when a proxy in front does TLS.
"""


def page() -> str:
    """Return the whole page."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return _HEAD + "".join(rows) + _FOOT


def _row(name: str, field: FieldInfo) -> str:
    return f"| `{name}`<br>`{PREFIX}{name.upper()}` | {_default(field.default)} | {field.description} |\n"


def _default(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case timedelta():
            seconds = value.total_seconds()
            return f"`{_written(int(seconds))}`" if seconds.is_integer() else f"`{seconds:g}`"
        case Path() | str():
            return f'`"{value}"`'
        case list() | tuple():
            return f"`{json.dumps(value)}`"
        case _:
            return f"`{value}`"


def _written(seconds: int) -> str:
    unit, size = next((unit, size) for unit, size in (("h", 3600), ("m", 60), ("s", 1)) if seconds % size == 0)
    return f"{seconds // size}{unit}"


if __name__ == "__main__":
    sys.stdout.write(page())
