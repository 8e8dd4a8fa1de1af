"""What can keep a control plane from handing its registries on."""

from __future__ import annotations

from valhalla.kernel.problems import Problem


class SnapshotUnsure(Problem):
    """A registry holds what this release cannot read: nobody is told half of what holds."""

    code = "snapshot-unsure"
    status = 503
    title = "The control plane cannot say what holds"
    help = "Keep what you have and ask again; /ready names the registry, and every process needs the same release."
