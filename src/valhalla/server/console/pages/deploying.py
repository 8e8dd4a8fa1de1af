"""What runs: deployments, smoke tests, and the routes that are served."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.commands import Commanded
from valhalla.server.console.contracts import Column, Field, Page, Section
from valhalla.server.console.pages.shapes import UPDATED, history, kept

PAGES: Final = (
    Page(
        slug="deployments",
        title="Deployments",
        group="Operations",
        path="/system/deployment",
        one="/system/deployment/{deployment_id}",
        key="id",
        name="service",
        noun="deployment",
        teach="None was recorded. A pipeline says so: 'valhalla deployment start', then 'finish'.",
        columns=(
            Column("service"),
            Column("environment"),
            Column("version"),
            Column("status", shape="status"),
            Column("verdict", "smoke", "status"),
            Column("actor"),
            Column("created_at", "made"),
            Column("finished_at", "ended"),
        ),
        actions=(
            Commanded(
                name="transition",
                label="Say what became of it",
                path="{one}/transition",
                when={"status": ("pending", "in_progress", "succeeded", "failed")},
                fields=(
                    Field(
                        name="to",
                        input="select",
                        options=("in_progress", "succeeded", "failed", "rolled_back"),
                        required=True,
                    ),
                    Field(name="notes"),
                ),
                cli="valhalla deployment finish {one} {to} --notes={notes}",
            ),
        ),
        sections=(history("deployment"),),
        topics=("deployment",),
        choices={"status": ("pending", "in_progress", "succeeded", "failed", "rolled_back")},
        cli="valhalla deployment ls",
        cli_one="valhalla deployment show",
    ),
    Page(
        slug="smoke",
        title="Smoke tests",
        group="Operations",
        path="/system/deployment/smoke/suites",
        one="/system/deployment/smoke/suites/{key}",
        key="name",
        noun="suite",
        teach="There are no suites. One asks your service what must hold after a deployment.",
        columns=(
            Column("name"),
            Column("base_url", "asks"),
            Column("cron", shape="code"),
            Column("description"),
            UPDATED,
        ),
        actions=(
            Commanded(
                name="run",
                label="Run",
                path="/system/deployment/smoke/suites/{name}/run",
                tone="good",
                fields=(Field(name="base_url", help="empty: the suite's own"),),
                cli="valhalla smoke run {one}",
            ),
            *kept("valhalla smoke"),
        ),
        sections=(
            Section(
                "Runs",
                "/system/deployment/smoke/runs",
                (
                    Column("id", shape="link", to="smoke-runs"),
                    Column("status", shape="status"),
                    Column("passed"),
                    Column("failed"),
                    Column("created_at", "began"),
                ),
                query={"suite": "name"},
            ),
        ),
        topics=("smoke", "registry.smoke_suites"),
        cli="valhalla smoke ls",
    ),
    Page(
        slug="smoke-runs",
        title="Smoke history",
        group="Operations",
        path="/system/deployment/smoke/runs",
        one="/system/deployment/smoke/runs/{run}",
        key="id",
        name="suite",
        noun="run",
        teach="Nothing ran yet.",
        columns=(
            Column("suite"),
            Column("status", shape="status"),
            Column("passed"),
            Column("failed"),
            Column("actor"),
            Column("created_at", "began"),
            Column("finished_at", "ended"),
        ),
        topics=("smoke",),
        choices={"status": ("queued", "running", "passed", "failed", "lost")},
        cli="valhalla smoke runs",
    ),
    Page(
        slug="routes",
        title="Routes",
        group="Operations",
        path="/system/routes",
        key="id",
        noun="route",
        teach="No route fits.",
        columns=(
            Column("id", "route", "code"),
            Column("scope"),
            Column("public"),
            Column("requests"),
            Column("error_rate", "errors"),
            Column("p50", shape="seconds"),
            Column("p99", shape="seconds"),
            Column("summary"),
        ),
        topics=("routes", "registry.route_lists"),
        cli="valhalla routes ls",
    ),
)
