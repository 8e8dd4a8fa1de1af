"""Log lines: JSON, complete, without secrets, and cheap to have."""

from __future__ import annotations

import asyncio
import json
import logging as stdlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valhalla.kit import correlation, liblog, outgoing
from valhalla.kit import log as logging
from valhalla.kit.log import configure, correlated, correlation_id, get_logger
from valhalla.kit.trace import new_trace, parse, traced


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "log"
    configure(level="debug", file=path)
    yield lambda: [json.loads(line) for line in path.read_text().splitlines()]
    configure()


def test_a_line_is_one_json_object(lines: Any) -> None:
    """With time, level, event, name and the fields."""
    get_logger("a.b").info("started", port=80, nested={"x": [1]})
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "info", "event": "started", "logger": "a.b", "port": 80, "nested": {"x": [1]}}


def test_newlines_cannot_forge_a_line(lines: Any) -> None:
    """One event is one line whatever it says."""
    get_logger("x").warning('a\n{"level":"error"}', note="b\nc")
    assert len(lines()) == 1


def test_the_correlation_id_is_on_every_line_inside(lines: Any) -> None:
    """And gone afterwards."""
    with correlated("c-1"):
        get_logger("x").info("in")
        assert correlation_id() == "c-1"
    get_logger("x").info("out")
    assert [line.get("correlation_id") for line in lines()] == ["c-1", None]


def test_reserved_fields_cannot_be_overwritten(lines: Any) -> None:
    """What a caller calls so is kept under another name."""
    with correlated("c-1"):
        get_logger("x").info("e", timestamp="t", level="l", correlation_id="c", logger="g")
    (line,) = lines()
    assert (line["level"], line["correlation_id"], line["logger"]) == ("info", "c-1", "x")
    assert [line[f"field_{n}"] for n in ("timestamp", "level", "correlation_id", "logger")] == ["t", "l", "c", "g"]


def test_secrets_are_redacted(lines: Any) -> None:
    """In fields, in the event and in tracebacks."""
    log = get_logger("x")
    try:
        raise RuntimeError("cannot reach postgresql://u:hunter2@h/d")
    except RuntimeError:
        log.exception("failed with vh_live_abcdefghij", password="hunter2")
    (line,) = lines()
    assert "hunter2" not in json.dumps(line)
    assert "abcdefghij" not in line["event"]
    assert "RuntimeError" in line["exception"]
    assert line["level"] == "error"


def test_an_exception_can_be_passed(lines: Any) -> None:
    """For one that is not being handled any more."""
    get_logger("x").error("late", exc_info=ValueError("bad"))
    assert "ValueError: bad" in lines()[0]["exception"]


def test_levels_filter(lines: Any, tmp_path: Path) -> None:
    """Loggers that already exist obey a change."""
    log = get_logger("x")
    log.debug("one")
    configure(level="error", file=tmp_path / "log")
    for write in (log.debug, log.info, log.warning):
        write("hidden")
    log.error("two")
    assert [line["event"] for line in lines()] == ["one", "two"]


def test_anything_can_be_a_field(lines: Any) -> None:
    """A log call never raises."""
    get_logger("x").info("e", a=object(), b=float("nan"), c={1: {2}}, d=b"\x00")
    assert lines()[0]["a"] == "[object]"


def test_a_person_gets_text(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal, or when asked for."""
    configure(human=True)
    get_logger("x").info("hello", port=80)
    configure()
    written = capsys.readouterr().err
    assert "hello" in written
    assert "port" in written
    assert not written.startswith("{")


def test_the_import_is_cheap_and_leaves_no_trace() -> None:
    """structlog comes with the first line, rich not at all, and the program's own configuration is untouched."""
    program = """
import sys
from valhalla.kit.log import get_logger
log = get_logger("x")
assert "structlog" not in sys.modules
log.info("hello")
assert "structlog" in sys.modules and "rich" not in sys.modules
import structlog
assert not structlog.is_configured()
import rich.console
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr)["event"] == "hello"
    assert logging.correlation_id() is None


@pytest.mark.parametrize("name", ["event", "self", "exception", "trace_id", "span_id", "method_name", "timestamp"])
def test_no_field_takes_the_place_of_ours(lines: Any, name: str) -> None:
    """Whatever it is called, a log call never raises and the field is kept beside."""
    with traced(new_trace()):
        get_logger("x").info("real", **{name: "forged", f"field_{name}": "too"})
    (line,) = lines()
    assert line["event"] == "real"
    assert "forged" not in (line.get(name), line.get("exception"))
    assert sorted(value for key, value in line.items() if key.startswith("field_")) == ["forged", "too"]


def test_the_span_is_on_every_line_inside(lines: Any) -> None:
    """So that logs and traces meet."""
    span = new_trace()
    with traced(span):
        get_logger("x").info("in")
    assert (lines()[0]["trace_id"], lines()[0]["span_id"]) == (span.trace_id, span.span_id)


async def test_the_id_goes_wherever_the_work_goes(lines: Any) -> None:
    """Tasks, executors and threads; several at once do not mix."""

    def work() -> str | None:
        return correlation_id()

    async def one(name: str) -> list[str | None]:
        with correlated(name), ThreadPoolExecutor(2) as pool:
            carry = correlation.carried(work)
            heard: list[str | None] = []
            thread = threading.Thread(target=correlation.carried(lambda: heard.append(correlation_id())))
            thread.start()
            thread.join()
            futures = [asyncio.wrap_future(pool.submit(carry)) for _ in range(4)]
            return [*heard, *await asyncio.gather(*futures, asyncio.to_thread(work), asyncio.create_task(_said()))]

    found = await asyncio.gather(*(one(f"c-{number}") for number in range(5)))
    assert found == [[f"c-{number}"] * 7 for number in range(5)]


async def _said() -> str | None:
    return correlation_id()


@given(st.text(max_size=200))
@example("a\r\nSet-Cookie: x")
@example("ä")
@example("a" * 129)
@example("")
def test_an_id_from_outside(value: str) -> None:
    """Adopted when its form is right, else a fresh one is made."""
    got = correlation.adopted(value)
    assert got.isascii()
    assert got.isprintable()
    assert 0 < len(got) <= 128
    assert (got == value) == (correlation.valid(value) is not None)


def test_the_longest_id_from_outside_is_adopted() -> None:
    """128 characters; nobody is nobody."""
    assert correlation.adopted("a" * 128) == "a" * 128
    assert correlation.valid(None) is None


def test_outgoing_calls_say_what_they_belong_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocking and async clients; what the caller set is kept."""
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200)

    monkeypatch.delenv(correlation.VARIABLE, raising=False)
    span = new_trace()
    transport = httpx.MockTransport(answer)
    with httpx.Client(transport=transport, event_hooks={"request": [outgoing.mark]}) as client:
        with correlated("c-1"), traced(span):
            client.get("http://h/")
            client.get("http://h/", headers={"x-correlation-id": "mine"})
        client.get("http://h/")

    async def on_a_loop() -> None:
        async with httpx.AsyncClient(transport=transport, event_hooks={"request": [outgoing.amark]}) as client:
            with correlated("c-2"):
                await client.get("http://h/")

    asyncio.run(on_a_loop())
    assert [headers.get("x-correlation-id") for headers in seen] == ["c-1", "mine", None, "c-2"]
    told = parse(seen[0]["traceparent"])
    assert told is not None
    assert (told.trace_id, told.span_id != span.span_id) == (span.trace_id, True)
    assert "traceparent" not in seen[3]


def test_a_program_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through its environment, and passes it on."""
    monkeypatch.delenv(correlation.VARIABLE, raising=False)
    assert outgoing.environment() == {}
    with correlated("c-1"):
        assert outgoing.environment() == {"VALHALLA_CORRELATION_ID": "c-1"}
    monkeypatch.setenv(correlation.VARIABLE, "c-0")
    assert dict(outgoing.headers()) == {"X-Correlation-ID": "c-0"}
    monkeypatch.setenv(correlation.VARIABLE, "a b")
    assert outgoing.environment() == {}


@pytest.fixture
def library(lines: Any) -> Iterator[Any]:
    root, level = stdlib.getLogger(), stdlib.getLogger().level
    before = list(root.handlers)
    liblog.capture("info")
    yield stdlib.getLogger("some.library")
    root.handlers[:], root.level = before, level


def test_what_libraries_log_has_our_form(lines: Any, library: stdlib.Logger) -> None:
    """With their logger's name, the correlation id, and without secrets."""
    with correlated("c-1"):
        library.warning("cannot reach %s", "postgresql://u:hunter2@h/d")
        library.debug("hidden")
    (line,) = lines()
    assert (line["logger"], line["level"], line["correlation_id"]) == ("some.library", "warning", "c-1")
    assert line["event"] == "cannot reach postgresql://u:***@h/d"


def test_an_absent_server_is_no_flood(lines: Any) -> None:
    """One line without a traceback, then how many were left out; other errors keep theirs, each one."""
    now = [100.0]
    handler = liblog.LibraryHandler(pause=10, monotonic=lambda: now[0])

    def tell(error: Exception) -> None:
        try:
            raise error
        except Exception:  # noqa: BLE001
            info = sys.exc_info()
        handler.emit(stdlib.LogRecord("sqlalchemy.pool", 40, "p.py", 1, "lost %s", ("it",), info))

    for _ in range(50):
        tell(ConnectionRefusedError("refused"))
    now[0] += 10
    tell(asyncpg.ConnectionDoesNotExistError("closed in the middle"))
    tell(ValueError("a bug"))
    tell(ValueError("a bug"))
    first, second, *bugs = lines()
    assert (first["event"], first["error"]) == ("lost it", "ConnectionRefusedError: refused")
    assert second["left_out"] == 49
    assert "exception" not in first.keys() | second.keys()
    assert ["ValueError: a bug" in bug["exception"] for bug in bugs] == [True, True]


def test_a_broken_record_breaks_nothing(lines: Any, library: stdlib.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong number of arguments is the library's mistake, not ours to fail for."""
    monkeypatch.setattr(stdlib, "raiseExceptions", False)
    library.warning("%s %s", "one")
    library.warning("next")
    assert [line["event"] for line in lines()] == ["next"]
