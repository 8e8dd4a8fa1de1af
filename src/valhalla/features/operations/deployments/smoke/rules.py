"""What is decided about smoke tests: whether a suite can be run, and whether an answer is as declared. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from valhalla.features.operations.deployments.smoke.contracts import GOVERNED, Check, JsonCheck, Suite
from valhalla.features.operations.deployments.smoke.errors import BadSuite
from valhalla.kit import jsonpath
from valhalla.kit.outgoing_guard.rules import Base
from valhalla.kit.redact import text
from valhalla.work.schedules import Cron, next_run

NAME: Final = r"[a-z0-9][a-z0-9_-]{0,62}"
Failure = Mapping[str, Any]

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_LINE: Final = re.compile(r"[\x20-\x7e]{0,2000}")
_SECRET: Final = re.compile(r"\$\{(?P<name>[^}]*)\}")
_VARIABLE: Final = re.compile(r"SMOKE_[A-Z0-9_]{1,60}")
# ours to write, or a way to talk to two hosts at once
_OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "upgrade", "te"}
)
_CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
_TYPES: Final = {"null": type(None), "boolean": bool, "string": str, "array": list, "object": dict}
_SHOWN: Final = 200


def check_suite(suite: Suite) -> None:
    """Accept a suite that can be run.

    Raises:
        BadSuite: the problem points at the member.
    """
    try:
        base = Base.parse(suite.base_url)
    except ValueError as error:
        raise _bad("/base_url", str(error)) from None
    names = [check.name for check in suite.checks]
    if not names:
        raise _bad("/checks", "a suite has at least one check")
    for position, check in enumerate(suite.checks):
        at = f"/checks/{position}"
        if names.index(check.name) != position:
            raise _bad(f"{at}/name", "two checks have this name")
        _check_request(at, check, suite.base_url, base)
        for number, each in enumerate(check.jsonpath):
            _check_json(f"{at}/jsonpath/{number}", each)
    if suite.cron is not None:
        try:
            if next_run(Cron(suite.cron, suite.timezone), datetime(2026, 1, 1, tzinfo=UTC)) is None:
                raise _bad("/cron", "it would never run")
        except ValueError as error:
            raise _bad("/cron", str(error)) from None
    undo = suite.on_failure
    if undo is not None:
        if undo.registry not in GOVERNED:
            raise _bad("/on_failure/registry", f"it is one of {', '.join(GOVERNED)}")
        if undo.action == "disable" and undo.key is None:
            raise _bad("/on_failure/key", "name the record that is to be disabled")


def url_of(base_url: str, path: str) -> str:
    """Return what a check asks."""
    return base_url.rstrip("/") + path


def secrets_of(check: Check) -> frozenset[str]:
    """Return the variables that its headers name."""
    return frozenset(found["name"] for value in check.headers.values() for found in _SECRET.finditer(value))


def filled(value: str, secrets: Mapping[str, str]) -> str:
    """Return a header with its ``${SMOKE_…}`` replaced.

    Raises:
        KeyError: a variable is not set.
    """
    return _SECRET.sub(lambda found: secrets[found["name"]], value)


def judge(check: Check, status: int, headers: Mapping[str, str], body: bytes, seconds: float) -> list[Failure]:
    """Return how an answer differs from what was declared; nothing if it is as declared."""
    failures: list[Failure] = []
    if status not in check.status:
        note = {"note": "redirects are not followed"} if 300 <= status < 400 else {}
        failures.append({"what": "status", "expected": list(check.status), "actual": status, **note})
    for name, expected in check.expect_headers.items():
        actual = headers.get(name.lower())
        if actual is None or expected not in ("*", actual):
            failures.append({"what": f"header {name}", "expected": expected, "actual": _shown(actual)})
    if check.latency_ms is not None and seconds * 1000 > check.latency_ms:
        failures.append({"what": "latency_ms", "expected": check.latency_ms, "actual": round(seconds * 1000, 1)})
    if check.jsonpath:
        try:
            document: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            failures.append({"what": "json", "expected": "a JSON document", "actual": "something else"})
        else:
            failures += [failure for each in check.jsonpath for failure in _unlike(each, document)]
    return failures


def _unlike(check: JsonCheck, document: Any) -> Iterator[Failure]:
    values = jsonpath.find(document, jsonpath.parse(check.path))
    what = f"json {check.path} {check.op}"
    match check.op:
        case "exists":
            good = bool(values)
        case "absent":
            good = not values
        case "count":
            good = len(values) == check.value
        case _:
            good = bool(values) and all(_fits(check, value) for value in values)
    if not good:
        actual = len(values) if check.op == "count" else _shown(values[0] if len(values) == 1 else values)
        yield {"what": what, "expected": check.value, "actual": actual}


def _fits(check: JsonCheck, value: Any) -> bool:
    wanted = check.value
    if check.op == "equals":
        # true is not 1 here, whatever Python says
        return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted
    if check.op == "contains":
        if isinstance(value, str):
            return isinstance(wanted, str) and wanted in value
        return isinstance(value, (list, dict)) and _holds(value, wanted)
    if check.op == "type":
        return _is_number(value) if wanted == "number" else isinstance(value, _TYPES[wanted])
    return _is_number(value) and (value >= wanted if check.op == "at_least" else value <= wanted)


def _holds(container: Any, wanted: Any) -> bool:
    try:
        return wanted in container
    except TypeError:  # an object is no member's name
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> Any:
    """Return what may be kept of an answer: short, and without what looks like a secret."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else "a number beyond 64 bits"
    try:
        written = (
            value if isinstance(value, str) else msgspec.json.encode(value)[: _SHOWN * 4].decode("utf-8", "replace")
        )
    except (OverflowError, RecursionError):
        return "something that is too large to be shown"
    return text(written, limit=_SHOWN)


def _check_request(at: str, check: Check, base_url: str, base: Base) -> None:
    if not check.path.startswith("/") or not base.covers(url_of(base_url, check.path)):
        raise _bad(f"{at}/path", "a path begins with a slash and has no dots alone, no spaces and no fragment")
    for status in check.status:
        if not 100 <= status <= 599:
            raise _bad(f"{at}/status", "a status is 100 to 599")
    for name, value in check.headers.items():
        if not _TOKEN.fullmatch(name) or not _LINE.fullmatch(value):
            raise _bad(f"{at}/headers", "a header has a name and printable ASCII on one line")
        if name.lower() in _OURS:
            raise _bad(f"{at}/headers", f"{name} is written by the control plane itself")
        variables = [found["name"] for found in _SECRET.finditer(value)]
        if any(not _VARIABLE.fullmatch(variable) for variable in variables):
            raise _bad(f"{at}/headers", "a variable is ${SMOKE_…}")
        if name.lower() in _CREDENTIALS and not variables:
            raise _bad(f"{at}/headers", f"{name} is readable here: name a variable, ${{SMOKE_TOKEN}}, instead")
    for name in check.expect_headers:
        if not _TOKEN.fullmatch(name):
            raise _bad(f"{at}/expect_headers", "that is no name of a header")


def _check_json(at: str, check: JsonCheck) -> None:
    try:
        jsonpath.parse(check.path)
    except ValueError as error:
        raise _bad(f"{at}/path", str(error)) from None
    if check.op in ("at_least", "at_most") and not _is_number(check.value):
        raise _bad(f"{at}/value", "it is compared with a number")
    if check.op == "count" and (not isinstance(check.value, int) or isinstance(check.value, bool)):
        raise _bad(f"{at}/value", "a count is a whole number")
    if check.op == "type" and (not isinstance(check.value, str) or check.value not in {*_TYPES, "number"}):
        raise _bad(f"{at}/value", f"a type is one of {', '.join([*_TYPES, 'number'])}")


def _bad(pointer: str, detail: str) -> BadSuite:
    return BadSuite(f"{pointer}: {detail}", errors=[{"in": "body", "pointer": pointer, "detail": detail}])
