"""Envelopes: what is written is read back, and nobody writes a header that is not theirs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sandbox.routing.test_subjects import sources, texts

from valhalla.sandbox.routing import envelope, subjects
from valhalla.sandbox.routing.contracts import MAX_DATA, Event
from valhalla.sandbox.routing.errors import EventInvalid, EventTooLarge

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
printable = st.text(min_size=1, max_size=50).filter(str.isprintable)
names = st.from_regex(r"x[a-z0-9]{0,10}", fullmatch=True)
events = st.builds(
    Event,
    sources,
    texts,
    texts,
    st.binary(max_size=50),
    printable,
    time=st.none() | moments,
    content_type=st.sampled_from(["application/json", "text/plain; charset=utf-8"]),
    traceparent=st.just("00-" + "a" * 32 + "-" + "b" * 16 + "-01") | st.none(),
    baggage=st.just("valhalla-sandbox=x") | st.none(),
    extensions=st.dictionaries(names, st.text(st.characters(blacklist_categories=["Cs"]), max_size=20), max_size=3),
)


def _written(event: Event, **lane: object) -> dict[str, str]:
    block = envelope.headers(envelope.standing_headers(event), envelope.message_id(event), **lane)  # type: ignore[arg-type]
    return envelope.read_block(block)


@settings(max_examples=30)
@given(events, st.integers(0, 2**60), st.booleans())
def test_read_back(event: Event, epoch: int, mirrored: bool) -> None:
    """An event that is written is the event that is read, with the claim that routed it."""
    subject = subjects.subject(subjects.Place(None, event.source, event.key, event.type))
    found = envelope.read(subject, _written(envelope.check(event), epoch=epoch, mirrored=mirrored), event.data)

    assert found.event == event
    assert (found.epoch, found.mirrored) == (epoch, mirrored)


@settings(max_examples=30)
@given(events, st.text(max_size=60))
def test_nothing_from_outside_makes_a_header(event: Event, text: str) -> None:
    """Whatever trace or baggage says: it is handed on as it is or left out."""
    foreign = Event(event.source, event.key, event.type, b"", event.id, traceparent=text, baggage=text)
    given = _written(foreign)

    assert set(given) <= {"nats-msg-id", "ce-specversion", "ce-id", "ce-source", "ce-type", "ce-subject",
                          "content-type", "traceparent", "baggage"}  # fmt: skip
    assert given.get("traceparent", text) == text
    assert given.get("baggage", text).strip() == text.strip()


def test_a_line_end_in_a_trace_is_no_trace() -> None:
    """A later version of the header may say more, but not on another line."""
    sneaky = "01-" + "a" * 32 + "-" + "b" * 16 + "-01-x\rNats-TTL: 1s"
    assert "traceparent" not in _written(Event("a", "k", "t", b"", "1", traceparent=sneaky))


@pytest.mark.parametrize(
    ("member", "event"),
    [
        ("source", Event("A", "k", "t", b"", "1")),
        ("key", Event("a", "", "t", b"", "1")),
        ("type", Event("a", "k", "\n", b"", "1")),
        ("id", Event("a", "k", "t", b"", "")),
        ("id", Event("a", "k", "t", b"", "a\nb")),
        ("id", Event("a", "k", "t", b"", "x" * 201)),
        ("time", Event("a", "k", "t", b"", "1", time=datetime(2026, 1, 1))),
        ("content_type", Event("a", "k", "t", b"", "1", content_type="x\r\ny: z")),
        ("extensions", Event("a", "k", "t", b"", "1", extensions={"Bad-Name": "x"})),
        ("extensions", Event("a", "k", "t", b"", "1", extensions={"id": "x"})),
    ],
    ids=["source", "key", "type", "no-id", "id-lines", "id-long", "time", "media", "extension", "own-name"],
)
def test_refused(member: str, event: Event) -> None:
    """What cannot be routed is refused, and the member is named."""
    with pytest.raises(EventInvalid) as caught:
        envelope.check(event)
    assert caught.value.extra["member"] == member


def test_too_large() -> None:
    """The largest event passes, one byte more does not."""
    envelope.check(Event("a", "k", "t", bytes(MAX_DATA), "1"))
    with pytest.raises(EventTooLarge):
        envelope.check(Event("a", "k", "t", bytes(MAX_DATA + 1), "1"))


def test_document_shows_json_as_json() -> None:
    """Data that can be read is shown as it is, anything else in base64."""
    for data, media, shown in (
        (b'{"a":1}', "application/json", {"data": {"a": 1}}),
        (b"{", "application/json", {"data_base64": "ew=="}),
        (b"hi", "text/plain", {"data": "hi"}),
        (b"\xff", "image/png", {"data_base64": "/w=="}),
    ):
        found = envelope.read("ev.p.a.k.t", {"Content-Type": media}, data, sequence=7).document()
        assert shown.items() <= found.items()
        assert found["sequence"] == 7


@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_is_nested_too_deeply_for_an_answer_is_shown_as_bytes(opened: bytes, closed: bytes) -> None:
    """An answer holds some 250 levels: one event must not keep all others of its lane from being read."""
    for depth, member in ((50, "data"), (300, "data_base64"), (100_000, "data_base64")):
        data = opened * depth + b"1" + closed * depth
        document = envelope.read("ev.p.a.k.t", {"Content-Type": "application/json"}, data, sequence=7).document()
        assert member in document
        assert len({"data", "data_base64"} & set(document)) == 1
