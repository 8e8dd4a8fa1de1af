"""Which event a webhook is, which receivers can be meant, and whose signature holds."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook as Official

from valhalla.kernel.problems import Problem
from valhalla.kit.cellkey import CellKey
from valhalla.kit.sealing import MASK
from valhalla.sandbox.routing import envelope
from valhalla.sandbox.routing.errors import EventInvalid
from valhalla.sandbox.routing.http.webhooks import rules, signatures
from valhalla.sandbox.routing.http.webhooks.contracts import Posted, Receiver
from valhalla.sandbox.routing.http.webhooks.errors import BadReceiver, KeyMissing, SignatureRefused
from valhalla.sandbox.routing.http.webhooks.masking import Masking
from valhalla.sandbox.routing.http.webhooks.wire import ReceiverModel

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"x" * 32).decode()
NOW = 1_770_000_000


def receiver(**members: Any) -> Receiver:
    return Receiver(**({"name": "shop", "kind": "tenant", "key_from": "body:$.account.id"} | members))


def posted(body: Any = None, rest: str | None = None, **headers: str) -> Posted:
    data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    return Posted({name.replace("_", "-"): value for name, value in headers.items()}, data, rest)


@pytest.mark.parametrize(
    ("key_from", "webhook", "key"),
    [
        ("body:$.account.id", posted({"account": {"id": "acme"}}), "acme"),
        ("body:$.n", posted({"n": 42}), "42"),
        ("body:$['a b'][-1]", posted({"a b": ["x", "y"]}), "y"),
        ("header:X-Tenant", posted(x_tenant=" acme "), "acme"),
        ("path", posted(rest="acme"), "acme"),
        ("fixed:acme", posted(b"\xff"), "acme"),
    ],
)
def test_a_key_is_found_where_its_receiver_says(key_from: str, webhook: Posted, key: str) -> None:
    assert rules.event_of(receiver(key_from=key_from), webhook).key == key


@pytest.mark.parametrize(
    "webhook",
    [posted(), posted({"account": {"id": None}}), posted({"account": {"id": "a b"}}), posted(b"not json"),
     posted(b"[" * 5000), posted({"account": {"id": ["acme"]}}), posted({"account": {"id": "x" * 200}}),
     posted(x_tenant="acme", rest="acme")],
    ids=["absent", "null", "a space", "no JSON", "deep", "a list", "long", "elsewhere"],
)  # fmt: skip
def test_what_does_not_say_whose_it_is_has_no_key(webhook: Posted) -> None:
    """What clients may choose decides nothing but what the receiver declares."""
    with pytest.raises(KeyMissing):
        rules.event_of(receiver(), webhook)


def test_an_event_has_what_its_sender_says_of_it() -> None:
    declared = receiver(kind="header", key_from="fixed:x-user=a", type_from="header:x-github-event")
    made = rules.event_of(
        declared,
        posted({}, x_github_event="push", x_github_delivery="d1", content_type="application/json", baggage="a=b"),
    )
    assert (made.source, made.key, made.type, made.id) == ("http", "x-user=a", "push", "shop:d1")
    assert (made.baggage, made.content_type, made.extensions) == ("a=b", "application/json", {"receiver": "shop"})
    assert envelope.check(made) is made


def test_the_same_delivery_has_the_same_id() -> None:
    """By the sender's id, or else by the body; and two receivers' senders do not know of each other."""
    fixed = receiver(key_from="fixed:a")

    def name(webhook: Posted, **members: Any) -> str:
        return rules.event_of(msgspec.structs.replace(fixed, **members), webhook).id

    assert name(posted({"a": 1}, webhook_id="m1")) == name(posted({"a": 2}, webhook_id="m1"))
    assert name(posted({"a": 1})) == name(posted({"a": 1})) != name(posted({"a": 2}))
    assert name(posted({}, webhook_id="m1")) != name(posted({}, webhook_id="m1"), name="other")
    assert name(posted({"id": "evt_1"}), id_from="body:$.id") == "shop:evt_1"
    long = name(posted({}, webhook_id="m" * 5000))
    assert len(long) < 120
    assert long != name(posted({}, webhook_id="m" * 5001))


@settings(max_examples=60)
@given(
    st.binary(max_size=60),
    st.dictionaries(
        st.sampled_from(["webhook-id", "idempotency-key", "content-type", "x-tenant", "traceparent", "baggage"]),
        st.text(st.characters(max_codepoint=255), max_size=40),
    ),
    st.text(max_size=40) | st.none(),
    st.sampled_from(["body:$.a", "header:x-tenant", "path"]),
)
def test_whatever_is_posted_is_an_event_or_is_refused(
    body: bytes, headers: dict[str, str], rest: str | None, key_from: str
) -> None:
    """Nothing that a stranger sends ends in anything but a problem of its own."""
    webhook = Posted(headers, body, rest)
    with contextlib.suppress(KeyMissing, EventInvalid):
        made = envelope.check(rules.event_of(receiver(key_from=key_from, type_from="header:x-tenant"), webhook))
        lines = envelope.standing_headers(made).split(b"\r\n")
        assert all(b":" in line and b"\n" not in line and b"\r" not in line for line in lines[:-1])


@pytest.mark.parametrize(
    ("member", "members"),
    [
        ("name", {"name": "A"}), ("kind", {"kind": "No"}), ("key_from", {"key_from": "cookie"}),
        ("key_from", {"key_from": "header:a b"}), ("key_from", {"key_from": "header:Authorization"}),
        ("key_from", {"key_from": "body:$..x"}), ("key_from", {"key_from": "body:$.a[*]"}),
        ("key_from", {"key_from": "fixed:a b"}), ("type_from", {"type_from": "path"}),
        ("id_from", {"id_from": "fixed:always"}), ("default_key", {"default_key": "a b"}),
        ("header", {"scheme": "hmac"}), ("header", {"scheme": "standard", "header": "x"}),
        ("header", {"scheme": "hmac", "header": "a b"}), ("prefix", {"prefix": "a b"}),
        ("tolerance", {"tolerance": 0}), ("max_bytes", {"max_bytes": 0}),
    ],
)  # fmt: skip
def test_a_receiver_that_cannot_be_meant_is_refused(member: str, members: dict[str, Any]) -> None:
    with pytest.raises(BadReceiver) as caught:
        rules.check(receiver(**members))
    assert caught.value.extra["errors"][0]["pointer"] == f"/{member}"


def signed(at: int = NOW, body: bytes = b"{}", secret: str = SECRET, message: str = "m1") -> Posted:
    """Sign as the official library does."""
    stamp = datetime.fromtimestamp(at, UTC)
    signature = Official(secret).sign(message, stamp, body.decode())
    return posted(body, webhook_id=message, webhook_timestamp=str(at), webhook_signature=signature)


def accepted(declared: Receiver, webhook: Posted, *secrets: str, now: float = NOW) -> bool:
    try:
        signatures.verify(declared, secrets, webhook, now)
    except SignatureRefused:
        return False
    return True


def test_standard_webhooks_hold_as_the_official_library_signs_them() -> None:
    standard = receiver(scheme="standard")
    whole = signed()
    assert accepted(standard, whole, SECRET)
    assert accepted(standard, whole, OTHER, SECRET)
    assert not accepted(standard, whole, OTHER)
    assert not accepted(standard, whole)
    assert not accepted(standard, Posted(whole.headers, b"{} "), SECRET)
    assert not accepted(standard, Posted({**whole.headers, "webhook-id": "m2"}, whole.body), SECRET)
    assert not accepted(standard, whole, SECRET, now=NOW + 301)
    assert not accepted(standard, whole, SECRET, now=NOW - 301)
    both = {**whole.headers, "webhook-signature": f"v1a,xx v1,bad {whole.headers['webhook-signature']}"}
    assert accepted(standard, Posted(both, whole.body), SECRET)


@pytest.mark.parametrize("absent", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_what_lacks_a_part_of_its_signature_is_refused(absent: str) -> None:
    whole = signed()
    headers = {name: value for name, value in whole.headers.items() if name != absent}
    assert not accepted(receiver(scheme="standard"), Posted(headers, whole.body), SECRET)


def test_a_mac_in_a_header_holds_as_it_is_declared() -> None:
    """As GitHub sends it, and as others do in base64."""
    mac = hmac.new(b"github-secret", b"{}", hashlib.sha256)
    github = receiver(scheme="hmac", header="X-Hub-Signature-256", prefix="sha256=")
    whole = posted(b"{}", x_hub_signature_256=f"sha256={mac.hexdigest()}")
    assert accepted(github, whole, "github-secret")
    assert not accepted(github, whole, "another-secret")
    assert not accepted(github, posted(b"{}", x_hub_signature_256=mac.hexdigest()), "github-secret")
    assert not accepted(github, posted(b"{}", x_hub_signature_256="sha256=\u00e9"), "github-secret")
    assert not accepted(github, posted(b"{}"), "github-secret")
    shop = receiver(scheme="hmac", header="x-mac", encoding="base64")
    assert accepted(shop, posted(b"{}", x_mac=base64.b64encode(mac.digest()).decode()), "github-secret")


def test_stripes_signature_holds_for_a_while() -> None:
    stripe, secret = receiver(scheme="stripe"), "whsec_stripe-secret"
    mac = hmac.new(secret.encode(), b"%d.{}" % NOW, hashlib.sha256).hexdigest()
    assert accepted(stripe, posted(b"{}", stripe_signature=f"t={NOW},v1=00,v1={mac},v0=x"), secret)
    assert not accepted(stripe, posted(b"{}", stripe_signature=f"t={NOW + 1},v1={mac}"), secret)
    assert not accepted(stripe, posted(b"{}", stripe_signature=f"t={NOW},t={NOW},v1={mac}"), secret)
    assert not accepted(stripe, posted(b"{}", stripe_signature=f"t={NOW},v1={mac}"), secret, now=NOW + 1000)


def test_secrets_go_in_and_never_out() -> None:
    cell = CellKey(b"c" * 32)
    masking = Masking(cell)
    model = ReceiverModel(kind="tenant", key_from="path", scheme="standard", secrets=[SECRET])
    stored = masking.make("shop", model, None)
    text = msgspec.json.encode(stored).decode() + json.dumps(masking.show(stored))
    assert SECRET not in text
    assert SECRET[6:] not in text
    assert masking.show(stored)["secrets"] == [MASK]
    assert masking.secrets(stored) == (SECRET,)
    kept = ReceiverModel(kind="tenant", key_from="path", scheme="standard", secrets=[OTHER, SECRET])
    more = masking.make("shop", kept, stored)
    assert masking.secrets(more) == (OTHER, SECRET)
    again = ReceiverModel(kind="tenant", key_from="path", scheme="standard", secrets=[MASK, MASK], enabled=False)
    assert masking.make("shop", again, more).sealed_secrets == more.sealed_secrets
    # what was sealed for one opens as no other's
    with pytest.raises(Problem):
        masking.secrets(msgspec.structs.replace(stored, name="other"))


@pytest.mark.parametrize(
    ("scheme", "secrets"),
    [("none", [SECRET]), ("standard", None), ("standard", []), ("standard", ["short"]), ("hmac", ["short"]),
     ("standard", [MASK])],
)  # fmt: skip
def test_a_scheme_has_the_secrets_that_it_needs(scheme: Any, secrets: list[str] | None) -> None:
    model = ReceiverModel(kind="tenant", key_from="path", scheme=scheme, secrets=secrets)
    with pytest.raises(BadReceiver):
        Masking(CellKey(b"c" * 32)).make("shop", model, None)
