"""Checkpoints hold against everything but the key that signed them."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from valhalla.kit import notes
from valhalla.kit.errors import BadCheckpoint

KEY = SigningKey(bytes(range(32)))
PUBLIC = bytes(KEY.verify_key)
KEPT = notes.Checkpoint("valhalla/c1/ledger", 42, hashlib.sha256(b"head").digest())


def _note() -> str:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return notes.compose(KEPT, at, PUBLIC, lambda text: KEY.sign(text).signature)


def test_the_form_is_that_of_signed_notes() -> None:
    """As c2sp.org/signed-note has it, computed here once more from its words."""
    text, _, signature = _note().partition("\n\n")
    assert text.split("\n") == [
        KEPT.origin,
        "42",
        base64.b64encode(KEPT.hash).decode(),
        "sealed 2026-03-01T00:00:00.000Z",
    ]
    mark, name, encoded = signature.rstrip("\n").split(" ")
    raw = base64.b64decode(encoded)
    key_id = hashlib.sha256(KEPT.origin.encode() + b"\n\x01" + PUBLIC).digest()[:4]
    assert (mark, name, raw[:4]) == ("—", KEPT.origin, key_id)
    KEY.verify_key.verify(text.encode() + b"\n", raw[4:])


def test_it_is_opened_with_the_key_of_its_origin_only() -> None:
    assert notes.opened(_note(), notes.verifier(KEPT.origin, PUBLIC)) == KEPT
    other = bytes(SigningKey(bytes(32)).verify_key)
    for key in (notes.verifier(KEPT.origin, other), notes.verifier("valhalla/c2/ledger", PUBLIC), "x", "", "a+b+c"):
        with pytest.raises(BadCheckpoint):
            notes.opened(_note(), key)


@given(st.data())
def test_no_other_text_is_taken(data: st.DataObject) -> None:
    note = _note()
    body = note.index("\n\n") + 1
    at = data.draw(st.integers(0, body - 1))
    char = data.draw(st.characters(codec="utf-8").filter(lambda c: c != note[at]))
    with pytest.raises(BadCheckpoint):
        notes.opened(note[:at] + char + note[at + 1 :], notes.verifier(KEPT.origin, PUBLIC))


@given(st.text(max_size=200), st.text(max_size=100))
def test_garbage_is_refused_as_such(note: str, key: str) -> None:
    with pytest.raises(BadCheckpoint):
        notes.opened(note, key)
