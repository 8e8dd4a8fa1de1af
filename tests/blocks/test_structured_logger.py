"""Lines are JSON, under the right id, and nobody can write somebody else's."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from valhalla import StructuredLogger, WorkerProcess
from valhalla.kernel.problems import Invalid
from valhalla.kit.log import correlated

PATIENCE = 30.0


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> tuple[StructuredLogger, Any]:
    """Return a logger that writes through the standard library's, and how to read what it wrote."""
    caplog.set_level(logging.DEBUG, "shop")
    return StructuredLogger(logging.getLogger("shop")), lambda: [json.loads(one.message) for one in caplog.records]


class TestBatch1:
    """What the original promised."""

    def test_an_id_is_made_or_taken(self) -> None:
        with correlated(None):
            logger = StructuredLogger()
            assert logger.get_correlation_id() == "unknown"
            made = logger.set_correlation_id()
            assert logger.get_correlation_id() == made != "unknown"
            assert logger.set_correlation_id("req-1") == "req-1" == logger.get_correlation_id()

    def test_an_action_is_returned_with_its_fields(self, lines: Any) -> None:
        logger, written = lines
        with correlated("req-1"):
            line = logger.log_action("order_placed", order="A-1", items=[1, 2])
        assert line == {
            "timestamp": line["timestamp"], "action": "order_placed", "correlation_id": "req-1", "order": "A-1",
            "items": [1, 2],
        }  # fmt: skip
        assert written() == [{"level": "info", **line}]

    def test_a_request_begins_under_an_id_of_its_own(self, lines: Any) -> None:
        logger, written = lines
        with correlated("before"):
            first, second = logger.log_request("/orders"), logger.log_request("/orders", "POST", "ana")
            assert logger.get_correlation_id() == second
        assert len({first, second, "before"}) == 3
        assert [(one["correlation_id"], one["method"], one["user_id"]) for one in written()] == [
            (first, "GET", "anonymous"),
            (second, "POST", "ana"),
        ]

    def test_an_id_from_outside_is_taken_over_if_it_has_the_form_of_one(self) -> None:
        with correlated(None):
            logger = StructuredLogger(logging.getLogger("nobody listens"))
            assert logger.log_request("/", correlation_id="client-7") == "client-7"
            for bad in ("", "a b", 'x"}\n{"action": "forged"', "é", "x" * 129):
                assert logger.log_request("/", correlation_id=bad) not in (bad, "client-7")


class TestLines:
    """What is in a line."""

    def test_nobody_writes_over_our_fields(self, lines: Any) -> None:
        logger, written = lines
        spoof = {"timestamp": "1970", "correlation_id": "other", "action": "b", "logger": "debug", "field_action": "c"}
        with correlated("req-1"):
            logger.log_action("a", "error", **spoof, name="n")
        (line,) = written()
        assert (line["action"], line["correlation_id"], line["level"], line["name"]) == ("a", "req-1", "error", "n")
        assert {"1970", "other", "b", "debug", "c"} <= {str(value) for value in line.values()}

    def test_secrets_are_taken_out(self, lines: Any) -> None:
        logger, written = lines
        line = logger.log_action("login", password="hunter2", url="redis://ana:hunter2@db", card="4111 1111 1111 1111")
        assert "hunter2" not in str(line) + str(written())
        assert "4111" not in str(line) + str(written())

    @pytest.mark.parametrize("level", ["handlers", "INFO", "", "exception"])
    def test_a_level_is_one_of_five(self, level: str) -> None:
        with pytest.raises(Invalid):
            StructuredLogger().log_action("a", level=level)

    def test_what_has_no_json_form_is_written_all_the_same(self, lines: Any) -> None:
        logger, written = lines
        circle: list[Any] = []
        circle.append(circle)
        logger.log_action("odd", thing=object(), circle=circle, number=float("nan"), text="\ud800")
        assert written()[0]["action"] == "odd"

    def test_without_a_logger_lines_go_to_stderr_as_json(self) -> None:
        program = (
            "from valhalla import StructuredLogger\n"
            "log = StructuredLogger()\n"
            "log.set_correlation_id('req-1')\n"
            "log.log_action('one', order='A-1\\nforged')\n"
            "log.log_action('two', 'critical', event='x')\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
        first, second = map(json.loads, done.stderr.splitlines())
        assert (first["event"], first["correlation_id"], first["order"]) == ("one", "req-1", "A-1\nforged")
        assert (second["event"], second["level"], second["field_event"]) == ("two", "error", "x")


class TestContext:
    """The id is that of what is being served, whoever else is served at the same time."""

    def test_threads_do_not_write_each_others_ids(self, lines: Any) -> None:
        logger, written = lines
        meet = threading.Barrier(4)

        def serve(who: int) -> None:
            logger.set_correlation_id(f"req-{who}")
            meet.wait(PATIENCE)
            logger.log_action("served", who=who)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(serve, range(4)))
        assert {(one["who"], one["correlation_id"]) for one in written()} == {(n, f"req-{n}") for n in range(4)}

    async def test_tasks_and_their_threads_have_the_id_of_their_task(self, lines: Any) -> None:
        logger, written = lines

        async def serve(who: int) -> None:
            logger.set_correlation_id(f"req-{who}")
            await asyncio.sleep(0)
            await asyncio.to_thread(logger.log_action, "served", who=who)

        await asyncio.gather(*(serve(who) for who in range(4)))
        assert {(one["who"], one["correlation_id"]) for one in written()} == {(n, f"req-{n}") for n in range(4)}

    def test_a_job_has_the_id_of_who_submitted_it(self, lines: Any) -> None:
        logger, written = lines
        with WorkerProcess() as worker, logger.correlated("req-1") as id_:
            worker.wait(worker.submit_job("mail", logger.log_action, "mailed"), PATIENCE)
        assert [one["correlation_id"] for one in written()] == [id_] == ["req-1"]
