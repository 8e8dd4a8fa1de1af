"""What a failing test's report says about its sandboxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from valhalla.pytest_plugin.run import Run
from valhalla.sdk.opened import OpenSandbox

_GONE = "Destroyed after the test. To look into one, run the test again with --keep-sandboxes, and then:"


def annotate(report: Any, run: Run, sandboxes: Sequence[OpenSandbox]) -> None:
    """Add a section that tells how the test's sandboxes are opened, and what was kept for the summary."""
    if not sandboxes:
        return
    report.sections.append(("valhalla sandbox", "\n".join(_told(run, sandboxes))))
    if run.keeps:
        # an attribute, for it must travel from an xdist worker to the controller
        report.valhalla_kept = [
            f"{opened.name} until {_until(opened)}: {run.place.command('sandbox', 'psql', opened.name)}"
            for opened in sandboxes
        ]
        if run.place.home is not None:
            report.valhalla_kept.append(f"stop their control plane: {run.place.command('down')}")


def _told(run: Run, sandboxes: Sequence[OpenSandbox]) -> list[str]:
    heads = [f"{opened.name} (id {opened.id}, template {opened.info.template})" for opened in sandboxes]
    if run.keeps:
        told = zip(heads, sandboxes, strict=True)
        return [line for head, one in told for line in (f"{head}, kept until {_until(one)}:", *_ways(run, one.name))]
    return [*heads, _GONE, *_ways(run, "NAME")]


def _ways(run: Run, name: str) -> list[str]:
    return [
        f'    eval "$({run.place.command("sandbox", "env", name)})"',
        f"    {run.place.command('sandbox', 'psql', name)}",
        f"    {run.place.command('sandbox', 'rm', '-y', name)}",
    ]


def _until(opened: OpenSandbox) -> str:
    return f"{opened.expires_at:%Y-%m-%d %H:%M} UTC"
