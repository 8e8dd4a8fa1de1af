"""The frozen values of upstreams."""

from __future__ import annotations

from typing import Final

import msgspec

UPSTREAMS: Final = "sandbox_upstreams"


class Upstream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a sandbox's requests go, by its id. ``own_host``: it is asked under its own name, not production's."""

    sandbox: str
    name: str
    url: str
    own_host: bool = False
