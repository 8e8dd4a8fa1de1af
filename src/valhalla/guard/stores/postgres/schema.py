"""The schema's text: for ``guard.setup()`` and for the control plane's migration."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from valhalla.kit.sql import identifier, literal

SCHEMA: Final = "valhalla_guard"
_FILES: Final = ("schema.sql", "limits.sql", "verbs.sql", "batches.sql")


def ddl(schema: str = SCHEMA) -> str:
    """Return the statements that make, or bring up to date, the schema of this name.

    Raises:
        ValueError: this is no name of a schema.
    """
    folder = files("valhalla.guard.stores.postgres")
    text = "\n".join(folder.joinpath(name).read_text() for name in _FILES)
    # the name also stands inside quoted bodies and constants, where only a plain one is safe
    if not schema.isidentifier() or not schema.isascii():
        raise ValueError(f"not a plain name for a schema: {schema!r}")
    return text.replace("{schema}", identifier(schema)).replace("'{name}'", literal(schema))
