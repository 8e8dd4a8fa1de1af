"""Log lines: JSON, complete, without secrets, and cheap to have."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from valhalla.kit import log as logging
from valhalla.kit.log import configure, correlated, correlation_id, get_logger


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
