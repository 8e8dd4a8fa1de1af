"""How ``valhalla up`` was called."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where the data is and which settings the command line overrides (``None`` values are ignored)."""

    data_dir: Path | None = None
    config: Path | None = None
    overrides: dict[str, object] = field(default_factory=dict[str, object])
