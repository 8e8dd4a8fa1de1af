"""The settings that say where requests may go out to, and whom they believe there."""

from __future__ import annotations

from pydantic import Field

from valhalla.kit.setting_places import Places
from valhalla.kit.setting_types import BaseUrl, Network, PemFile, PrivateHostText


class Ways(Places):
    """The settings up to these."""

    outgoing_networks: list[Network] = Field(
        [],
        description="private networks that smoke tests, notifications and sign-in may reach, such as 10.0.0.0/8",
    )
    outgoing_hosts: list[PrivateHostText] = Field(
        [],
        description="hosts that webhooks and mail may reach at private addresses, each with the network that it is in:"
        " hooks.internal:8443=10.1.0.0/16; without a port at every one",
    )
    outgoing_ca_file: PemFile | None = Field(
        None, description="PEM certificates of CAs of your own that webhooks and mail servers are trusted by, too"
    )
    upstream_networks: list[Network] | None = Field(
        None,
        description="private networks that sandboxes' upstreams may be in, such as 10.0.0.0/8; when absent loopback if"
        " the control plane itself listens there alone, else none",
    )
    smoke_targets: list[BaseUrl] = Field(
        [], description="base URLs that smoke tests may ask, such as https://api.example; what lies under them, too"
    )
