"""What a fresh sandbox contains.

Built in: ``community`` (three tables) and ``empty``. A user's own is a folder below the templates directory: either
``.sql`` files, run in order of their names, or a ``template.toml`` with a command to run, such as
``command = ["alembic", "upgrade", "head"]``. A snapshot is a copy of what some sandbox held. All of them run with the
sandbox's own rights, never the control plane's.
"""

from valhalla.sandbox.templates.catalog import Filling, Templates
from valhalla.sandbox.templates.kinds import BuiltIn, Command, Poolable, Scripts, Snapshot, Template, is_pooled
from valhalla.sandbox.templates.seeding import seed
from valhalla.sandbox.templates.snapshots import SnapshotInfo, Snapshots

__all__ = [
    "BuiltIn",
    "Command",
    "Filling",
    "Poolable",
    "Scripts",
    "Snapshot",
    "SnapshotInfo",
    "Snapshots",
    "Template",
    "Templates",
    "is_pooled",
    "seed",
]
