"""``valhalla smoke`` and ``valhalla deployment``: what they send, say and return to a CI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tests.cli.calling import Result
from tests.cli.fake_plane import FakePlane

from valhalla.cli.junit import junit

Valhalla = Callable[..., Result]
AT = "2026-03-01T12:00:00Z"


def run(status: str, **members: Any) -> dict[str, Any]:
    ended = None if status in ("queued", "running") else AT
    return {
        "id": "r1",
        "suite": "api",
        "version": 3,
        "base_url": "https://api.example",
        "deployment": None,
        "status": status,
        "actor": "k1",
        "job": "j1",
        "created_at": AT,
        "started_at": AT,
        "finished_at": ended,
        "total": 2,
        "passed": 1,
        "failed": 1,
        "remedy": None,
        "results": [],
        **members,
    }


def attempt(name: str, number: int, *, ok: bool, last: bool) -> dict[str, Any]:
    failures = [] if ok else [{"what": "status", "expected": [200], "actual": "<5\x1b00>"}]
    shown = {"status": 200, "latency_ms": 12.5, "failures": failures, "at": AT}
    return {"position": 0, "attempt": number, "name": name, "ok": ok, "last": last, **shown}


FAILED = run(
    "failed",
    results=[
        attempt("flaky", 1, ok=False, last=False),
        attempt("flaky", 2, ok=True, last=True),
        attempt("broken", 1, ok=False, last=True),
    ],
    remedy={"action": "disable", "registry": "flags", "key": "new", "done": True},
)


def test_a_failed_run_is_waited_for_reported_and_returned(
    plane: FakePlane, data_dir: Path, valhalla: Valhalla, tmp_path: Path
) -> None:
    plane.script = [(202, run("queued")), (200, run("running")), (200, FAILED)]

    result = valhalla("smoke", "run", "api", "--deployment", "d1", "--junit", str(tmp_path / "r.xml"))

    assert result.code == 1
    assert [(method, path) for method, path, *_ in plane.seen] == [
        ("POST", "/system/deployment/smoke/suites/api/run"),
        *[("GET", "/system/deployment/smoke/runs/r1")] * 2,
    ]
    assert plane.seen[0][3] == {"deployment": "d1"}
    assert "failed: 1 of 2 checks passed (r1)" in result.out
    assert "disable of flags new: done" in result.out
    assert "\x1b" not in result.out
    suite = ET.parse(tmp_path / "r.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    assert [(case.get("name"), [child.tag for child in case]) for case in suite] == [
        ("flaky", ["system-out"]),
        ("broken", ["failure"]),
    ]


def test_a_passed_run_is_zero_and_a_refused_one_is_not(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.script = [(202, run("queued")), (200, run("passed", passed=2, failed=0))]
    assert valhalla("smoke", "run", "api").code == 0

    assert valhalla("smoke", "run", "api", "--no-wait").code == 1  # the plane knows no such path


def test_what_was_never_decided_is_an_error_of_the_report() -> None:
    suite = ET.fromstring(junit(run("lost", results=[attempt("flaky", 1, ok=True, last=True)])))[0]

    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    assert [child.tag for case in suite for child in case] == ["error"]


DEPLOYMENT: dict[str, Any] = {
    "id": "d1",
    "environment": "prod",
    "service": "shop",
    "version": "2.0",
    "status": "in_progress",
    "created_at": AT,
    "revisions": {"flags": 3},
    "verdict": None,
}
SPREAD = {"count": 1, "median": 600.0, "p90": 600.0}
DORA = {
    "since": AT,
    "until": AT,
    "deployments": 3,
    "per_day": 0.1,
    "failures": 1,
    "failure_rate": 0.25,
    "lead_time": SPREAD,
    "time_to_restore": SPREAD,
    "unrestored": 0,
    "truncated": False,
}


@pytest.mark.parametrize(
    ("words", "answer", "sent", "said"),
    [
        (
            "start prod shop 2.0 --commit abcdef1 --committed-at 2026-03-01T12:00:00+01:00",
            DEPLOYMENT,
            {"committed_at": "2026-03-01T12:00:00+01:00", "start": True, "commit": "abcdef1"},
            "d1: shop 2.0 in prod is in_progress\n",
        ),
        ("finish d1 succeeded --force", DEPLOYMENT, {"to": "succeeded", "force": True}, "d1: shop"),
        ("ls --current", {"items": [DEPLOYMENT]}, {}, "prod"),
        ("ls --service shop", {"items": [DEPLOYMENT], "next": None}, {}, "shop"),
        ("show d1", DEPLOYMENT, {}, '{"flags": 3}'),
        ("dora --last 7d", DORA, {}, "25.0% (1 failed)"),
    ],
    ids=["start", "finish", "current", "ls", "show", "dora"],
)
def test_deployments(
    plane: FakePlane,
    data_dir: Path,
    valhalla: Valhalla,
    words: str,
    answer: dict[str, Any],
    sent: dict[str, Any],
    said: str,
) -> None:
    plane.script = [(200, answer)]

    result = valhalla("deployment", *words.split())

    assert result.code == 0, result.err
    assert said in result.out
    assert sent.items() <= (plane.seen[-1][3] or {}).items()


def test_runs_and_suites_are_listed(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.script = [(200, {"items": [FAILED], "next": None}), (200, FAILED), (200, {"name": "api", "base_url": "x"})]

    assert "1/2" in valhalla("smoke", "runs").out
    assert "broken" in valhalla("smoke", "result", "r1").out
    assert "base_url" in valhalla("smoke", "show", "api").out
