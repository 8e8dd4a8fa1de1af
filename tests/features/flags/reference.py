"""What flagd's reference evaluator makes of our own scenarios: ``python -m tests.features.flags.reference`` writes it.

A scenario is a flag and a context; an outcome ``variant reason`` or the code of a failure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden" / "scenarios.json"

_LETTERS = {letter: letter for letter in "abcd"}
_BY_NAME = {"cat": [{"var": "$flagd.flagKey"}, {"var": "user.name"}]}
_SHARES = [["a", 25], ["b", 25], ["c", 25], ["d", 25]]


def _if(condition: Any, *then: Any) -> Any:
    return {"if": [condition, *(then or ("a", "b"))]}


RULES: dict[str, Any] = {
    "none": None,
    "empty": {},
    "equal": _if({"==": [{"var": "plan"}, "pro"]}),
    "loose": _if({"==": [{"var": "n"}, "7"]}),
    "strict": _if({"===": [{"var": "n"}, "7"]}),
    "in-list": _if({"in": [{"var": "plan"}, ["pro", "team"]]}),
    "in-text": _if({"in": ["@valhalla", {"var": "email"}]}),
    "starts": _if({"starts_with": [{"var": "email"}, "ann"]}, "a"),
    "ends": _if({"ends_with": [{"var": "email"}, ".test"]}, "a", {"ends_with": [{"var": "n"}, "7"]}, "b"),
    "no-texts": {"ends_with": [{"var": "n"}, "7"]},
    "newer": _if({"sem_ver": [{"var": "version"}, ">=", "2.1.0"]}, "a", "b"),
    "range": _if(
        {"sem_ver": [{"var": "version"}, "^", "2.0.0"]}, "a", {"sem_ver": [{"var": "version"}, "~", "1.9.1"]}, "b", "c"
    ),
    "bad-version": {"sem_ver": ["one", ">", "2.1.0"]},
    "nested": _if({"and": [{"var": "user.beta"}, {"!": [{"==": [{"var": "plan"}, "free"]}]}]}),
    "some": _if({"some": [{"var": "tags"}, {"==": [{"var": ""}, "red"]}]}),
    "between": _if({"<": [1, {"var": "n"}, 10]}),
    "shared": _if({"$ref": "staff"}),
    "no-such-shared": _if({"$ref": "nobody"}),
    "no-such-operator": {"invalid": [1]},
    "no-such-variant": _if({"var": "user.beta"}, "z"),
    "variable": {"var": "plan"},
    "split": {"fractional": _SHARES},
    "split-by-name": {"fractional": [_BY_NAME, *_SHARES]},
    "split-by-number": {"fractional": [{"var": "n"}, *_SHARES]},
    "split-shorthand": {"fractional": [["a"], ["b", 1]]},
    "split-weighted": {"fractional": [["a", _if({"var": "user.beta"}, 100, 0)], ["b", 10]]},
    "split-into-rules": {"fractional": [[_if({"var": "user.beta"}, "c", "d"), 50], ["b", 50]]},
    "split-negative": {"fractional": [["a", -50], ["b", 10]]},
    "split-nothing": {"fractional": [["a", 0], ["b", 0]]},
    "split-as-condition": _if({"fractional": [["a", 50], ["", 50]]}, "c", "d"),
    "split-of-missing": {"fractional": [{"var": "nothing"}, *_SHARES]},
}
# flagd has no shared rules in shared rules, we have
SHARED = {"staff": {"ends_with": [{"var": "email"}, "@valhalla.test"]}}
CONTEXTS: list[dict[str, Any]] = [
    {},
    {"targetingKey": "u1"},
    {"targetingKey": "u2", "plan": "pro", "n": 7, "email": "ann@valhalla.test", "version": "2.1.0"},
    {"targetingKey": "u3", "plan": "free", "n": "7", "email": "bob@other.example", "version": "1.9.4"},
    {"targetingKey": "ü4", "plan": "a", "n": 7.5, "email": "", "version": "v2.1.0-rc.1", "user": {"beta": True}},
    {"targetingKey": "u5", "plan": "team", "n": True, "tags": ["blue", "red"], "user": {"name": "ann", "beta": False}},
    {"targetingKey": "u6", "plan": "z", "n": -3, "tags": [], "user": {"name": "bob", "beta": True}, "version": 2.1},
    {"plan": None, "n": None, "user": {"name": ""}, "version": "2.1.0+build.7"},
]


def definitions() -> dict[str, Any]:
    """Return the flags in flagd's format."""
    flag = {"state": "ENABLED", "variants": _LETTERS, "defaultVariant": "d"}
    flags: dict[str, Any] = {key: flag if rule is None else {**flag, "targeting": rule} for key, rule in RULES.items()}
    flags["off"] = {**flag, "state": "DISABLED"}
    flags["callers"] = {**flag, "defaultVariant": None, "targeting": RULES["starts"]}
    return {"flags": flags, "$evaluators": SHARED}


def reference() -> dict[str, list[str]]:
    """Return the outcomes of flagd's evaluator, by flag in the order of the contexts."""
    from openfeature.contrib.tools.flagd.core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.exception import OpenFeatureError

    core = FlagdCore()
    core.set_flags(definitions())

    def outcome(key: str, context: dict[str, Any]) -> str:
        attributes = {name: value for name, value in context.items() if name != "targetingKey"}
        try:
            found = core.resolve_string_value(key, "", EvaluationContext(context.get("targetingKey"), attributes))
        except OpenFeatureError as error:
            return str(error.error_code.value)
        return f"{found.variant or ''} {found.reason}"

    return {key: [outcome(key, context) for context in CONTEXTS] for key in definitions()["flags"]}


if __name__ == "__main__":
    lines = [f"{json.dumps(key)}: {json.dumps(found)}" for key, found in reference().items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
