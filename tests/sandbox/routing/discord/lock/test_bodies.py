"""What the lock reads in a body, and what it answers in Discord's place."""

from __future__ import annotations

import json
import time

import pytest
from tests.sandbox.routing.discord.lock.ids import A, B

from valhalla.sandbox.routing.discord.outbound import answers, bodies
from valhalla.sandbox.routing.discord.outbound.rules import classify

FORWARD = {"message_reference": {"type": 1, "channel_id": B, "message_id": "1"}}


def form(*parts: tuple[str, bytes], head: str = "") -> tuple[str, bytes]:
    made = b"".join(
        f'--xx\r\nContent-Disposition: form-data; name="{name}"{head}\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in parts
    )
    return "multipart/form-data; boundary=xx", made + b"--xx--\r\n"


def test_references_to_other_channels_are_found_wherever_they_are() -> None:
    """In JSON, deeper in it, and in forms."""
    for document in (FORWARD, {"message": FORWARD}, [FORWARD], {"message_reference": {"channel_id": int(B)}}):
        assert bodies.foreign(bodies.read("application/json", json.dumps(document).encode()), A)
    read = bodies.read(*form(("payload_json", json.dumps(FORWARD).encode()), ("files[0]", b"--xy\r\n\r\n")))
    assert bodies.foreign(read, A)
    assert not bodies.foreign(read, B)
    assert bodies.foreign({"message_reference": {"message_id": "1"}}, None)
    assert not bodies.foreign({"message_reference": {"message_id": "1"}}, A)
    assert bodies.foreign({"message_reference": "odd"}, A)
    assert not bodies.foreign({"content": "message_reference"}, A)


GOOD = json.dumps({"content": "x"}).encode()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", GOOD),
        ("application/x-www-form-urlencoded", b"content=x"),
        ("application/json; charset=utf-16", json.dumps(FORWARD).encode("utf-16")),
        ("application/json", json.dumps(FORWARD).encode("utf-16")),
        ("application/json", b'{"message_reference":null,"message_reference":{"channel_id":"1"}}'),
        ("application/json", b"[" * 100_000),
        ("application/json", b"[" * 100 + b"]" * 100),
        ("application/json", b"{"),
        ("multipart/mixed; boundary=xx", form(("payload_json", GOOD))[1]),
        ("multipart/form-data", form(("payload_json", GOOD))[1]),
        form(("payload_json", GOOD), ("payload_json", json.dumps(FORWARD).encode())),
        form(("message_reference[channel_id]", B.encode())),
        form(("payload_json", GOOD), head="\r\nContent-Transfer-Encoding: base64"),
        form(("payload_json", GOOD), head='\r\nContent-Disposition: form-data; name="files[0]"'),
        form(("payload%5Fjson", GOOD)),
        ("multipart/form-data; boundary=xx", b"preamble\r\n" + form(("payload_json", GOOD))[1]),
        ("multipart/form-data; boundary=xx", form(("payload_json", GOOD))[1][:-4]),
        ("multipart/form-data; boundary=xx; boundary=yy", form(("payload_json", GOOD))[1]),
    ],
    ids=[f"body{number}" for number in range(18)],
)
def test_a_body_that_can_be_read_in_two_ways_is_refused(kind: str, body: bytes) -> None:
    """Or in none: Discord might read in it what the lock does not."""
    with pytest.raises(bodies.Unreadable):
        bodies.read(kind, body)


def test_a_pretended_message_is_as_discord_answers() -> None:
    """With an id that is a time, growing."""
    made = answers.Pretence()
    call = classify("POST", f"/api/v10/channels/{A}/messages")
    first, second = (json.loads(made.of(call, {"content": "x"}, {"id": "5"}).body) for _ in range(2))
    assert int(first["id"]) < int(second["id"])
    assert abs((int(first["id"]) >> 22) + 1_420_070_400_000 - time.time() * 1000) < 60_000
    assert (first["channel_id"], first["content"], first["author"]) == (A, "x", {"id": "5"})
    assert made.of(classify("DELETE", f"/api/v10/channels/{A}"), None, {}).status == 204
