"""W3C trace context, read strictly."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valhalla.kit import trace
from valhalla.kit.trace import Trace

_T, _S = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{_T}-{_S}-01", True),
        (f"00-{_T}-{_S}-00", False),
        (f"00-{_T}-{_S}-fe", False),
        (f"cc-{_T}-{_S}-01-x", True),
    ],
    ids=["sampled", "not", "other flags", "later version"],
)
def test_a_caller_is_heard(header: str, sampled: bool) -> None:
    """As text or bytes; a later version may say more."""
    assert trace.parse(header) == trace.parse(header.encode()) == Trace(_T, _S, sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"ff-{_T}-{_S}-01",
        f"00-{_T}-{_S}-01-x",
        f"00-{_T}-{_S}-01-",
        f"cc-{_T}-{_S}-01x",
        f"00-{_T.upper()}-{_S}-01",
        f"00-{'0' * 32}-{_S}-01",
        f"00-{_T}-{'0' * 16}-01",
        f"00-{_T[1:]}-{_S}-01",
        f"00-{_T}-{_S}-1",
        f" 00-{_T}-{_S}-01",
        f"00-{_T}-{_S}-01\n",
        f"00-{_T}-{_S}-01\r\nx: y",
        f"cc-{_T}-{_S}-01-{'x' * 3000}",
    ],
    ids=[
        "empty",
        "ff",
        "more",
        "dash",
        "glued",
        "upper",
        "zero-trace",
        "zero-span",
        "short",
        "flags",
        "space",
        "newline",
        "crlf",
        "long",
    ],
)
def test_what_has_not_the_form_is_nobody(header: str) -> None:
    """Then a new trace begins."""
    assert trace.parse(header) is None
    assert trace.adopt(header).parent_id is None


@given(st.one_of(st.text(max_size=80), st.binary(max_size=80)))
@example("00-" + "\u0663" * 32 + f"-{_S}-01")
def test_nothing_raises_and_what_is_read_has_the_form(header: str | bytes) -> None:
    """Whatever a client sends."""
    found = trace.parse(header)
    assert found is None or trace.parse(trace.render(found)) == found


def test_a_span_under_the_caller() -> None:
    """The same trace, an own span, the caller as its parent."""
    span = trace.adopt(f"00-{_T}-{_S}-01")
    assert (span.trace_id, span.parent_id, span.sampled) == (_T, _S, True)
    assert trace.parse(trace.render(span)) == Trace(_T, span.span_id)
    assert trace.parse(trace.render(trace.new_trace())) is not None
    with trace.traced(span):
        assert trace.current() == span
    assert trace.current() is None
