"""Jobs, the timetable, and who lives."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.contracts import Above, Action, Column, Field, Page
from valhalla.server.console.pages.shapes import history

_LOST: Final = ("dead", "cancelled", "held")
_CRON: Final = ("timing.type", "cron")
_EVERY: Final = ("timing.type", "every")
_TIMETABLE: Final = (
    Field(name="job", required=True, help="the name of a registered function"),
    Field(name="timing.type", label="when", input="select", options=("cron", "every", "once")),
    Field(name="timing.expression", label="cron: five fields", only=_CRON, help="30 2 * * *"),
    Field(name="timing.timezone", label="cron: time zone", only=_CRON, help="Europe/Berlin; empty: UTC"),
    Field(name="timing.seconds", label="every: seconds", input="number", only=_EVERY),
    Field(name="timing.start", label="every: counted from", input="time", only=_EVERY, help="UTC"),
    Field(name="timing.at", label="once: at", input="time", only=("timing.type", "once"), help="UTC"),
    Field(name="args", label="arguments", input="json"),
    Field(name="catch_up", label="missed runs", input="select", options=("one", "all", "skip")),
    Field(name="overlap", label="while one still runs", input="select", options=("skip", "allow")),
    Field(name="jitter", label="late by up to so many seconds", input="number"),
    Field(name="paused", input="check"),
)

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
                warning="A thousand at a time, the oldest first: do it again while more match.",
                fields=(
                    # nothing is chosen where the list shows all, or others: what is done must be what was looked at
                    Field(
                        name="status",
                        input="select",
                        options=("", *_LOST),
                        required=True,
                        help="Only dead, cancelled and held jobs can be retried: choose which.",
                    ),
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
                when={"status": _LOST},
            ),
            Action(
                name="cancel",
                label="Cancel",
                path="{one}/cancel",
                tone="danger",
                when={"status": ("queued", "running")},
            ),
        ),
        sections=(history("job"),),
        topics=("job",),
        choices={"status": ("queued", "running", "held", "succeeded", "cancelled", "dead")},
        above=(Above("above_queues.html", "/system/jobs/queues"),),
        template="job.html",
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
        teach="Nothing is planned. 'New schedule' puts a job on the timetable.",
        columns=(
            Column("name"),
            Column("job"),
            Column("timing"),
            Column("paused"),
            Column("next_at", "next"),
            Column("last_at", "last"),
            Column("last_error", "last error"),
        ),
        tools=(
            Action(
                name="new",
                label="New schedule",
                method="PUT",
                path="{one}",
                tone="good",
                fields=(Field(name="name", required=True, path=True), *_TIMETABLE),
            ),
        ),
        actions=(
            Action(
                name="edit",
                label="Edit",
                method="PUT",
                path="{one}",
                fields=_TIMETABLE,
                prefilled=True,
                each=False,
                when={"built_in": (False,)},
            ),
            Action(name="run", label="Run now", path="{one}/run", tone="good"),
            Action(name="pause", label="Pause", path="{one}/pause", when={"paused": (False,)}),
            Action(name="resume", label="Resume", path="{one}/resume", when={"paused": (True,)}),
        ),
        sections=(history("schedule"),),
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
        sections=(history("heartbeat"),),
        topics=("heartbeat",),
        cli="valhalla heartbeat ls",
    ),
)
