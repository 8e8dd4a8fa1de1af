"""Dashboards and alert rules: every metric and label that they name exists, and every alert has its runbook."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.server.plane import Plane

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "deploy/grafana").glob("*.json"))
RULES = yaml.safe_load((ROOT / "deploy/prometheus/valhalla.rules.yml").read_text())["groups"][0]["rules"]
METRIC = re.compile(r"\b((?:valhalla|process)_[a-z_]+)\b(?:\{([^}]*)\})?")
# Prometheus adds these, and histograms have theirs
GIVEN = {"instance", "job", "le"}


@pytest.fixture(scope="module")
async def known(plane: Plane) -> Mapping[str, set[str]]:
    """The labels of every metric; of one that has no sample yet none are known."""
    text = (await plane.client().get("/metrics")).text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        names = {family.name, f"{family.name}_total"} if family.type == "counter" else {family.name}
        if family.type == "histogram":
            names = {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
        labels = {label for sample in family.samples for label in sample.labels}
        found |= dict.fromkeys(names, labels)
    return found


def check(expression: str, known: Mapping[str, set[str]]) -> None:
    metrics = METRIC.findall(expression)
    assert metrics, expression
    labels = {label for _, within in metrics for label in re.findall(r"(\w+)\s*(?:=~|!=|=)", within)}
    for group in re.findall(r"by \(([^)]*)\)", expression):
        labels |= {label.strip() for label in group.split(",")}
    there: set[str] = set()
    for name, _ in metrics:
        assert name in known, f"{name} in {expression}"
        there |= known[name]
    assert not there or labels <= there | GIVEN, expression


@pytest.mark.parametrize("path", DASHBOARDS, ids=[path.stem for path in DASHBOARDS])
def test_a_dashboard_shows_metrics_that_exist(path: Path, known: Mapping[str, set[str]]) -> None:
    board: dict[str, Any] = json.loads(path.read_text())
    assert board["uid"] == path.stem
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        for target in panel["targets"]:
            check(target["expr"], known)


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_has_a_metric_and_a_runbook(rule: dict[str, Any], known: Mapping[str, set[str]]) -> None:
    if "valhalla_" in rule["expr"]:
        check(rule["expr"], known)
    assert f"\n### {rule['alert']}\n" in (ROOT / "docs/operations.md").read_text()
    assert rule["labels"]["severity"] in ("warning", "error", "critical")
    assert rule["annotations"]["summary"]


def test_every_runbook_has_its_alert() -> None:
    told = re.findall(r"^### (\w+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    assert told == [rule["alert"] for rule in RULES]
