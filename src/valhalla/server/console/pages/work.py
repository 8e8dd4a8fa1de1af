"""Jobs, the timetable, and who lives."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.contracts import Action, Column, Field, Page

PAGES: Final = (
    Page(
        slug="jobs",
        title="Jobs",
        group="Work",
        path="/system/jobs",
        one="/system/jobs/{job_id}",
        key="id",
        name="name",
        noun="job",
        teach="No job fits. Background work of the control plane and of your own programs ('valhalla worker') is here.",
        columns=(
            Column("name"),
            Column("status", shape="status"),
            Column("queue"),
            Column("attempts"),
            Column("progress"),
            Column("created_at", "made"),
            Column("started_at", "began"),
            Column("finished_at", "ended"),
        ),
        tools=(
            Action(
                name="retry-all",
                label="Retry all that match",
                path="/system/jobs/retry",
                fields=(
                    Field(name="status", input="select", options=("dead", "cancelled", "held"), default="dead"),
                    Field(name="name"),
                    Field(name="queue"),
                ),
            ),
        ),
        actions=(
            Action(
                name="retry",
                each=False,
                label="Retry",
                path="{one}/retry",
                tone="good",
                when={"status": ("dead", "cancelled", "held")},
            ),
            Action(
                name="cancel",
                label="Cancel",
                path="{one}/cancel",
                tone="danger",
                when={"status": ("queued", "running")},
            ),
        ),
        topics=("job",),
        choices={"status": ("queued", "running", "held", "succeeded", "cancelled", "dead")},
        cli="valhalla job ls",
        cli_one="valhalla job show",
    ),
    Page(
        slug="schedules",
        title="Schedules",
        group="Work",
        path="/system/schedules",
        one="/system/schedules/{name}",
        key="name",
        noun="schedule",
        teach="Nothing is planned. PUT /system/schedules/{name} adds to the timetable.",
        columns=(
            Column("name"),
            Column("job"),
            Column("timing"),
            Column("paused"),
            Column("next_at", "next"),
            Column("last_at", "last"),
            Column("last_error", "last error"),
        ),
        actions=(
            Action(name="run", label="Run now", path="{one}/run", tone="good"),
            Action(name="pause", label="Pause", path="{one}/pause", when={"paused": (False,)}),
            Action(name="resume", label="Resume", path="{one}/resume", when={"paused": (True,)}),
        ),
        topics=("schedule",),
        cli="valhalla schedule ls",
    ),
    Page(
        slug="heartbeats",
        title="Heartbeats",
        group="Work",
        path="/system/heartbeats",
        one="/system/heartbeats/{name}",
        key="name",
        noun="heartbeat",
        teach="Nothing is watched. 'valhalla heartbeat ping' in a script says that it lives; its silence is an alert.",
        columns=(
            Column("name"),
            Column("status", shape="status"),
            Column("last_beat_at", "last"),
            Column("interval", shape="seconds"),
            Column("took", shape="seconds"),
            Column("reason"),
        ),
        topics=("heartbeat",),
        cli="valhalla heartbeat ls",
    ),
)
