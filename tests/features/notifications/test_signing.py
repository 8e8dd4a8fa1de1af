"""Signatures: the vectors of the specification, and the official library as the judge."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from valhalla.features.data.notifications.contracts import Secrets
from valhalla.features.data.notifications.sealing import sealer
from valhalla.features.data.notifications.signing import Signer, new_secret, public, raw, signing_key
from valhalla.kernel.problems import Misconfigured
from valhalla.kit.cellkey import CellKey

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'


def test_the_vectors() -> None:
    key = signing_key(bytes(range(32)))
    assert Signer.of([SECRET]).sign(MESSAGE, AT, BODY) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert public(key) == "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
    assert Signer((), (key,)).sign(MESSAGE, AT, BODY) == (
        "v1a,yoUrgEkc12aGqm0n4Sydmdz55xJfTz4AsAgieHFjmkR7LJtqVCZOQYzvvHjI5kAey+r4iaBGxTFRrl2iBQxtDQ=="
    )


@settings(max_examples=25)
@given(st.text(max_size=500))
def test_the_official_library_accepts_each_of_several_secrets_and_no_changed_body(text: str) -> None:
    secrets = [new_secret(), new_secret()]
    now, body = int(time.time()), json.dumps({"text": text}).encode()
    signature = Signer.of(secrets, [signing_key(b"k" * 32)]).sign("abc", now, body)
    headers = {"webhook-id": "abc", "webhook-timestamp": str(now), "webhook-signature": signature}
    for secret in secrets:
        assert Webhook(secret).verify(body, headers) == {"text": text}
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_what_is_no_secret(text: str) -> None:
    with pytest.raises(ValueError, match="signing secret"):
        raw(text)


def test_what_is_sealed_opens_for_its_channel_only() -> None:
    seals = sealer(CellKey(b"k" * 32))
    sealed = seals.seal("ops", Secrets(password="hunter2"))
    assert seals.open("ops", sealed) == Secrets(password="hunter2")
    assert "hunter2" not in sealed
    for other, name, text in (
        (seals, "others", sealed),
        (sealer(CellKey(b"l" * 32)), "ops", sealed),
        (seals, "ops", sealed[:-8] + "AAAAAAA="),
        (seals, "ops", "no base64"),
    ):
        with pytest.raises(Misconfigured):
            other.open(name, text)
