"""Tokens that nobody signed, that were signed for another, or whose time is over open no connection."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nats import errors
from tests.isolation.conftest import eventually
from tests.isolation.nats_attacks.field import Field

from valhalla.kit import natsauth
from valhalla.kit.natsauth import KeyPair
from valhalla.sandbox.slices.contracts import Names


def forged(creds: str, change: Any) -> str:
    """Return credentials whose token was altered and whose signature was kept."""
    lines = creds.split("\n")
    head, body, signature = lines[1].split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    change(claims)
    lines[1] = f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.{signature}"
    return "\n".join(lines)


class TestCredentials:
    """A token counts only as the account signed it, for whom it was signed, until it expires or is revoked."""

    @pytest.mark.parametrize(
        "change",
        [
            lambda claims: claims["nats"].update(pub={}, sub={}),
            lambda claims: claims["nats"]["sub"]["allow"].append(">"),
            lambda claims: claims.update(exp=claims["exp"] + 86400),
            lambda claims: claims.update(name="somebody"),
            lambda claims: claims["nats"].update(bearer_token=True),
            lambda claims: claims.update(iss="A" * 56),
        ],
        ids=["all subjects", "one subject", "later expiry", "name", "bearer", "issuer"],
    )
    async def test_altered_token(self, calm: Field, change: Any) -> None:
        """Any altered claim breaks the signature."""
        with pytest.raises(errors.Error, match="Authorization Violation"):
            await calm.connect(forged(calm.creds, change))

    async def test_self_minted(self, calm: Field) -> None:
        """A token that A signs itself, with its user key or any other, is refused for every account."""
        seed = next(line for line in calm.creds.split("\n") if line.startswith("SU"))
        user = KeyPair.from_seed(seed)
        stranger = KeyPair.from_raw("account", secrets.token_bytes(32))
        for signer in (user, stranger):
            for issuer in (calm.part.account(calm.a).public, calm.part.account(calm.b).public):
                claims = {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2}
                # "issuer_account" claims that the signer is a signing key of the account
                for body in (claims, claims | {"issuer_account": issuer}):
                    token = natsauth.encode_jwt(signer, user.public, "evil", body, issued_at=int(time.time()))
                    with pytest.raises((errors.Error, TimeoutError)):
                        async with asyncio.timeout(0.3):
                            await calm.connect(natsauth.creds_file(token, user))

    async def test_no_signature_algorithm(self, calm: Field) -> None:
        """``alg: none`` is no way around."""
        lines = calm.creds.split("\n")
        _, body, _ = lines[1].split(".")
        head = base64.urlsafe_b64encode(b'{"typ":"JWT","alg":"none"}').decode().rstrip("=")
        for signature in ("", "AA"):
            lines[1] = f"{head}.{body}.{signature}"
            with pytest.raises(errors.Error):
                await calm.connect("\n".join(lines))

    async def test_stolen_token_without_its_seed(self, calm: Field, tomorrow: datetime) -> None:
        """B's token is worth nothing to who cannot sign the server's challenge."""
        stolen = calm.part.connection(calm.b, expires_at=tomorrow)["creds"].split("\n")[1]
        with pytest.raises(errors.Error, match="Authorization Violation"):
            await calm.connect(natsauth.creds_file(stolen, KeyPair.from_raw("user", secrets.token_bytes(32))))

    async def test_bearer_tokens_are_off(self, calm: Field) -> None:
        """Even the account's own signature makes no token that works without a seed."""
        user = KeyPair.from_raw("user", secrets.token_bytes(32))
        token = natsauth.user_jwt(calm.part.account(calm.a), user.public, name="bearer", limits={"bearer_token": True})
        with pytest.raises(errors.Error, match="Authorization Violation"):
            await calm.connect(natsauth.creds_file(token, KeyPair.from_raw("user", secrets.token_bytes(32))))

    @pytest.mark.parametrize("account", ["operator", "account", "system"])
    async def test_accounts_cannot_be_pushed(self, calm: Field, account: str) -> None:
        """With its own seeds A cannot sign an account for itself, nor reach where one is pushed."""
        signer = KeyPair.from_raw("operator", secrets.token_bytes(32))
        token = natsauth.account_jwt(signer, calm.part.account(calm.a).public, name=account)
        client = await calm.connect()
        with pytest.raises(errors.Error):
            await client.request("$SYS.REQ.CLAIMS.UPDATE", token.encode(), timeout=0.1)

    async def test_expiry_disconnects(self, calm: Field) -> None:
        """A live connection ends within a second of its token's expiry, and the token lets nobody in again."""
        until = datetime.now(UTC) + timedelta(seconds=2)
        creds = calm.part.connection(calm.a, expires_at=until)["creds"]
        client = await calm.connect(creds)
        await client.flush()
        await eventually(lambda: client.is_closed, within=3)
        assert (datetime.now(UTC) - until).total_seconds() < 1
        # within the second of the expiry itself the server takes a connection and ends it at once
        with contextlib.suppress(errors.Error):
            again = await calm.connect(creds)
            await eventually(lambda: again.is_closed, within=0.2)
        await asyncio.sleep(1)
        with pytest.raises(errors.Error, match=r"[Ee]xpired|Authorization"):
            await calm.connect(creds)

    async def test_cut_and_deleted_accounts_stay_out(self, calm: Field, fresh: Names, tomorrow: datetime) -> None:
        """After cut and after drop, a token that is valid for a day is refused; so is a new one."""
        await calm.part.provision(fresh, expires_at=tomorrow)
        creds = calm.part.connection(fresh, expires_at=tomorrow)["creds"]
        client = await calm.connect(creds)
        await calm.part.cut(fresh)
        await eventually(lambda: client.is_closed, within=0.1)
        for step in (None, calm.part.drop):
            if step is not None:
                await step(fresh)
            for token in (creds, calm.part.connection(fresh, expires_at=tomorrow)["creds"]):
                with pytest.raises(errors.Error, match="Authorization Violation"):
                    await calm.connect(token)
