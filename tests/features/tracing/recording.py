"""Somebody who records spans."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from valhalla.features.observability.tracing import rules
from valhalla.features.observability.tracing.recorder import Tracer
from valhalla.kit.spans import rooted


def tracer(db: Any = None, **bounds: Any) -> Tracer:
    return Tracer(db, **{"share": 0.0, "slow": timedelta(seconds=60), **bounds})


def rows() -> list[dict[str, Any]]:
    kept = tracer(share=1.0)
    with pytest.raises(ValueError, match="x"), rooted(kept, "job é", None, n=-3, f=1.5, yes=True, many=[1, 2]):
        raise ValueError("x")
    return [rules.row(each) for each in kept.batches._waiting]
