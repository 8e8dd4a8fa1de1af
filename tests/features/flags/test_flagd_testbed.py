"""The evaluator scenarios of flagd's testbed, where FLAGD_TESTBED names a copy of it.

The testbed has no licence that would let us ship it. What must hold without it is in ``golden/``.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from openfeature.evaluation_context import EvaluationContext
from tests.features.flags.testbed import Row, Scenario, flag_sets, scenarios

from valhalla.features.operations.flags.evaluating import FlagSet
from valhalla.features.operations.flags.fractions import Generation
from valhalla.sdk.flags import Flags
from valhalla.sdk.openfeature import ValhallaProvider

TYPES: dict[str, Any] = {"Boolean": lambda text: text == "true", "String": str, "Integer": int, "Float": float}
# hashed as no program does any more; what flagd itself has ended; metadata of whole files
OTHERS = {"@fractional-v1", "@deprecated", "@metadata-provider"}
# the others are about flagd's processes and connections
FEATURES = ("evaluator/gherkin/*.feature", "gherkin/targeting.feature", "gherkin/evaluation.feature")


class Play:
    """Plays one scenario with our provider."""

    def __init__(self, flags: FlagSet) -> None:
        held = Flags()
        held._held = SimpleNamespace(value=flags)  # type: ignore[assignment]
        self.provider = ValhallaProvider(held)
        self.context: dict[str, Any] = {}
        self.key: str | None = None
        self.asked: tuple[str, str, Any] = ("", "", None)
        self.details: Any = None

    def step(self, text: str, table: list[Row]) -> None:
        for pattern, method in STEPS:
            if found := re.fullmatch(pattern, text):
                method(self, *found.groups(), *([table] if table else []))
                return
        raise LookupError(text)

    def flag(self, kind: str, key: str, default: str) -> None:
        self.asked = (kind, key, value_of(kind, default))

    def member(self, key: str, kind: str, value: str) -> None:
        self.context[key] = value_of(kind, value)

    def nested(self, outer: str, inner: str, value: str) -> None:
        self.context[outer] = {inner: value}

    def nested_typed(self, outer: str, inner: str, kind: str, value: str) -> None:
        self.context[outer] = {inner: value_of(kind, value)}

    def targeting_key(self, value: str) -> None:
        self.key = value

    def evaluate(self) -> None:
        kind, key, default = self.asked
        resolve = getattr(self.provider, f"resolve_{kind.lower()}_details")
        self.details = resolve(key, default, EvaluationContext(self.key, self.context))

    def value(self, expected: str) -> None:
        assert self.details.value == value_of(self.asked[0], expected), self.details

    def reason(self, expected: str) -> None:
        assert self.details.reason == expected, self.details

    def error(self, expected: str) -> None:
        assert (self.details.error_code or "") == expected, self.details

    def metadata(self, rows: list[Row]) -> None:
        assert self.details.flag_metadata == {row["key"]: value_of(row["metadata_type"], row["value"]) for row in rows}

    def no_metadata(self) -> None:
        assert self.details.flag_metadata == {}


def value_of(kind: str, text: str) -> Any:
    return json.loads(text.replace('\\"', '"')) if kind == "Object" else TYPES[kind](text)


def nothing(_: Play, *__: str) -> None: ...


NESTED = r'a context containing a nested property with outer key "(.*)" and inner key "(.*)"'
STEPS: list[tuple[str, Any]] = [
    (r"an? (?:stable flagd provider|evaluator)", nothing),
    (r'an option "cache" .*', nothing),
    (r'an? (\w+)-flag with key "(.*)" and a (?:default|fallback) value "(.*)"', Play.flag),
    (r'a context containing a key "(.*)", with type "(.*)" and with value "(.*)"', Play.member),
    (rf'{NESTED}, with value "(.*)"', Play.nested),
    (rf'{NESTED}, with type "(.*)" and with value "(.*)"', Play.nested_typed),
    (r'a context containing a targeting key with value "(.*)"', Play.targeting_key),
    (r"the flag was evaluated with details", Play.evaluate),
    (r'the resolved details value should be "(.*)"', Play.value),
    (r'the reason should be "(.*)"', Play.reason),
    (r'the error-code should be "(.*)"', Play.error),
    (r"the resolved metadata should contain", Play.metadata),
    (r"the resolved metadata is empty", Play.no_metadata),
]


def generation(scenario: Scenario) -> Generation:
    return "v2" if "@fractional-v2" in scenario.tags else "v3"


@pytest.mark.slow
def test_the_scenarios_of_flagds_testbed() -> None:
    place = os.environ.get("FLAGD_TESTBED")
    if not place:
        pytest.skip("FLAGD_TESTBED names no copy of github.com/open-feature/flagd-testbed")
    failed, played = list[str](), 0
    for pattern in FEATURES:
        for feature in sorted(Path(place).glob(pattern)):
            files = "evaluator/flags/*.json" if "evaluator" in feature.parts else "flags/[!s]*.json"
            among = flag_sets(sorted(Path(place).glob(files)))
            for scenario in scenarios(feature.read_text()):
                if scenario.tags & OTHERS:
                    continue
                played += 1
                play = Play(among[generation(scenario)])
                try:
                    for n, step in enumerate(scenario.steps):
                        play.step(step, scenario.tables.get(n, []))
                except (AssertionError, LookupError, ValueError) as error:
                    failed.append(f"{feature.name}: {scenario.name} {sorted(scenario.tags)} {play.asked[1]}: {error}")
    assert not failed, f"{len(failed)} of {played}:\n" + "\n".join(failed)
    assert played > 100
