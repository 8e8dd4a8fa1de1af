"""Our evaluator says what flagd's own says, of flags with every kind of rule in contexts of every kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.features.flags.reference import CONTEXTS, GOLDEN, definitions, reference

from valhalla.features.operations.flags.contracts import Flag
from valhalla.features.operations.flags.evaluating import FlagSet


def test_every_outcome_is_that_of_the_reference() -> None:
    document = definitions()
    flags = {key: (Flag(key=key, **members), 1) for key, members in document["flags"].items()}
    among = FlagSet(flags, shared=document["$evaluators"])

    def outcome(key: str, context: dict[str, Any]) -> str:
        found = among.evaluate(key, context)
        return found.failure or f"{found.variant} {found.reason}"

    expected = json.loads(GOLDEN.read_text())
    assert {key: [outcome(key, context) for context in CONTEXTS] for key in flags} == expected


@pytest.mark.slow
def test_the_reference_has_not_changed() -> None:
    pytest.importorskip("openfeature.contrib.tools.flagd.core", reason="flagd-core comes with the extra 'bench'")
    assert reference() == json.loads(GOLDEN.read_text())
