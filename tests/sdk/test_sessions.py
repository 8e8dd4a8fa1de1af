"""Recorded sessions: what is written is read back, and a file that is none is refused whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.sdk.sessions import MASK, Playback, Recorded, Recorder, SessionInvalidError, open_session


def lane_event(number: int, **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "/tenant",
        "type": "t",
        "subject": "acme",
        "datacontenttype": "application/json",
        "data": {"n": number},
        "sequence": 100 + number,
        "epoch": 3,
        "mirrored": False,
        "stored_at": f"2026-01-01T00:00:0{number}.250Z",
        **more,
    }


def written(*events: dict[str, Any], redact: frozenset[str] = frozenset()) -> list[str]:
    recorder = Recorder(redact)
    return [recorder.head(), *map(recorder.line, events)]


def test_a_session_has_a_version_and_relative_times() -> None:
    lines = written(lane_event(1), lane_event(3))
    assert json.loads(lines[0])["valhalla_session"] == 1
    assert [(one.at, one.event["id"]) for one in open_session(lines)] == [(0.0, "e1"), (2.0, "e3")]
    assert not {"sequence", "epoch", "mirrored", "stored_at"} & open_session(lines)[0].event.keys()


def test_what_is_played_is_what_was_recorded() -> None:
    given_ = lane_event(1, comexampleshop="eu", traceparent="00-1-2-01", data_base64="AAH/")
    del given_["data"]
    body = open_session(written(given_))[0].published()
    assert body == {
        "source": "tenant",
        "key": "acme",
        "type": "t",
        "id": "e1",
        "datacontenttype": "application/json",
        "data_base64": "AAH/",
        "traceparent": "00-1-2-01",
        "extensions": {"comexampleshop": "eu"},
    }


def test_members_are_redacted_at_any_depth_and_in_any_spelling() -> None:
    data = {"user": [{"Email": "a@b.example", "n": 1}], "email": None}
    event = open_session(written(lane_event(1, data=data), redact=frozenset({"email"})))[0].event
    assert event["data"] == {"user": [{"Email": MASK, "n": 1}], "email": MASK}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "line 1"),
        (["{}"], "line 1"),
        (['{"valhalla_session": 2}'], "line 1"),
        (['{"valhalla_session": 1}', "nonsense"], "line 2"),
        (['{"valhalla_session": 1}', '{"at": -1, "event": {}}'], "line 2"),
        (['{"valhalla_session": 1}', "", '{"at": 0, "event": {"id": "1"}}'], "line 3"),
    ],
    ids=["empty", "other", "later", "garbage", "negative", "no-key"],
)
def test_what_is_no_session_is_refused(lines: list[str], told: str) -> None:
    with pytest.raises(SessionInvalidError, match=told):
        open_session(lines)


@given(st.lists(st.floats(0, 1000, allow_nan=False), max_size=500).map(sorted), st.sampled_from([0.0, 0.5, 1.0, 100.0]))
def test_pieces_keep_order_and_pace(times: list[float], speed: float) -> None:
    """Every event is in one piece, numbered without a gap, and none leaves more than 5 ms early."""
    session = [Recorded(at, lane_event(1, id=str(number))) for number, at in enumerate(times)]
    playback = Playback(speed)
    played: list[tuple[float, str]] = []
    for due, piece in playback.batches(session):
        assert piece["first"] == len(played)
        assert piece["run"] == playback.run
        assert len(piece["events"]) <= 200
        played += [(due, event["id"]) for event in piece["events"]]
    assert [id_ for _, id_ in played] == [str(number) for number in range(len(times))]
    assert playback.sent == len(times)
    for (due, _), at in zip(played, times, strict=True):
        assert due == 0 if speed == 0 else -1e-9 <= at / speed - due <= 0.005
