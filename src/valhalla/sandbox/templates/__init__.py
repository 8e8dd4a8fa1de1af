"""What a fresh Postgres slice contains.

Built in: ``community`` (three tables) and ``empty``. A user's own is a folder below the templates directory: either
``.sql`` files, run in order of their names, or a ``template.toml`` with a command to run, such as
``command = ["alembic", "upgrade", "head"]``. Both run with the sandbox's own rights, never the control plane's.
"""

from valhalla.sandbox.templates.catalog import BuiltIn, Command, Scripts, Template, Templates
from valhalla.sandbox.templates.seeding import seed

__all__ = ["BuiltIn", "Command", "Scripts", "Template", "Templates", "seed"]
