"""An issuer of identities, and a control plane that trusts it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.conftest import Servers
from tests.server.console.oidc.person import ALICE
from tests.server.issuer import CLIENT, SECRET, Issuer
from tests.server.plane import Plane, running
from tests.server.serving import serving

from valhalla.kit.settings import Settings


@pytest.fixture(scope="session")
async def issuer() -> AsyncIterator[Issuer]:
    """One for all: somebody of another issuer's may not have the same name."""
    made = Issuer()
    async with serving(made.app()) as address:
        made.url = f"http://{address}"
        yield made


@pytest.fixture(scope="module")
async def house(servers: Servers, issuer: Issuer) -> AsyncIterator[Plane]:
    """A control plane that trusts the issuer."""
    settings = Settings(
        data_dir=servers.data_dir,
        reap_interval=timedelta(days=1),
        access_log=False,
        pool_size=0,
        worker_jobs=0,
        outgoing_networks=["127.0.0.0/8"],
        oidc_issuer=issuer.url,
        oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,  # pyright: ignore[reportArgumentType]
        oidc_roles={"platform": "operator", "guests": "viewer", "chiefs": "admin"},
        oidc_domains=["example.com"],
    )
    async with running(settings, servers.cell, servers.endpoints) as plane:
        yield plane


@pytest.fixture(autouse=True)
def well_behaved(issuer: Issuer) -> None:
    issuer.claims, issuer.spoil, issuer.userinfo = dict(ALICE), {}, None
    issuer.algorithm, issuer.signing = "RS256", None
