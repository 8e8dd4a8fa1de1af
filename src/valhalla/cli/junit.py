"""A smoke run as JUnit XML, which every CI shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from valhalla.cli.documents import sequence
from valhalla.cli.text import printable


def junit(run: Mapping[str, Any]) -> str:
    """Return the report: a case for each check, with what every attempt met."""
    checks: dict[str, list[Mapping[str, Any]]] = {}
    for attempt in sequence(run, "results"):
        checks.setdefault(attempt["name"], []).append(attempt)
    failed = sum(not attempts[-1]["ok"] for attempts in checks.values())
    undecided = max(0, run["total"] - len(checks))
    seconds = sum(_seconds(attempt) for attempts in checks.values() for attempt in attempts)
    counts = {"tests": str(run["total"]), "failures": str(failed), "errors": str(undecided), "time": f"{seconds:.3f}"}
    name = printable(run["suite"])
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": name, "timestamp": run["created_at"], **counts})
    for check, attempts in checks.items():
        took = sum(map(_seconds, attempts))
        case = ET.SubElement(
            suite, "testcase", {"classname": f"smoke.{name}", "name": printable(check), "time": f"{took:.3f}"}
        )
        told = [_line(attempt, failure) for attempt in attempts for failure in sequence(attempt, "failures")]
        if not attempts[-1]["ok"]:
            ET.SubElement(case, "failure", {"message": told[-1] if told else "failed"}).text = "\n".join(told)
        elif told:
            # it passed in the end: what came before is kept, and fails nothing
            ET.SubElement(case, "system-out").text = "\n".join(told)
    for number in range(undecided):
        case = ET.SubElement(suite, "testcase", {"classname": f"smoke.{name}", "name": f"undecided {number + 1}"})
        ET.SubElement(case, "error", {"message": f"the run is {run['status']}"})
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def describe(failure: Mapping[str, Any]) -> str:
    """Return one failure on one line."""
    expected, actual = (json.dumps(failure.get(name), ensure_ascii=False) for name in ("expected", "actual"))
    return printable(f"{failure.get('what')}: expected {expected}, got {actual}")


def _line(attempt: Mapping[str, Any], failure: Mapping[str, Any]) -> str:
    return f"attempt {attempt['attempt']}: {describe(failure)}"


def _seconds(attempt: Mapping[str, Any]) -> float:
    return (attempt.get("latency_ms") or 0) / 1000
