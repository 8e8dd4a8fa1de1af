"""What a flag says elsewhere or later: its environments and its schedule, each edited by the same form. Pure.

A layer is ``""`` (the flag itself), ``env:<name>`` or ``step:<number>``. What a layer does not say is as it was before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, cast

Document = dict[str, Any]
Own = Literal["", "none", "rules"]
"""Whether a layer has rules of its own: as before, none at all, or these."""
EVERYWHERE: Final = ""
_ENVIRONMENT: Final = "env:"
_STEP: Final = "step:"


class Layer(NamedTuple):
    """One layer as a button."""

    name: str
    title: str


def layers(definition: Mapping[str, Any]) -> list[Layer]:
    """Return every layer of a definition, the flag itself first."""
    found = [Layer(EVERYWHERE, "everywhere")]
    found += [Layer(_ENVIRONMENT + name, f"in {name}") for name in _environments(definition)]
    for n, step in enumerate(_steps(definition)):
        place = f" in {step['environment']}" if step.get("environment") else ""
        found.append(Layer(f"{_STEP}{n}", f"from {str(step.get('at', ''))[:16].replace('T', ' ')}{place}"))
    return found


def part(definition: Document, layer: str) -> Document | None:
    """Return the members of a layer, to be changed in place; None for one that there is not."""
    if layer == EVERYWHERE:
        return definition
    if layer.startswith(_ENVIRONMENT):
        return _environments(definition).get(layer.removeprefix(_ENVIRONMENT))
    at, steps = layer.removeprefix(_STEP), _steps(definition)
    return steps[int(at)] if at.isdecimal() and int(at) < len(steps) else None


def own(members: Mapping[str, Any]) -> Own:
    """Say whether a layer has rules of its own."""
    return "" if members.get("targeting") is None else "rules" if members["targeting"] else "none"


def fill(members: Document, form: Mapping[str, str], targeting: Document | None) -> None:
    """Put what was typed for a layer into it; ``targeting`` are its rules, if it has any.

    Raises:
        ValueError: the instant of a step cannot be read.
    """
    wanted = form.get("own", "")
    said = {
        "state": form.get("state") or None,
        "defaultVariant": form.get("default") or None,
        "targeting": {"none": {}, "rules": targeting or {}}.get(wanted),
    }
    if "at" in form:
        members["at"] = _instant(form["at"])
        said["environment"] = form.get("at-environment") or None
    for name, value in said.items():
        if value is None:
            members.pop(name, None)
        else:
            members[name] = value


def press(definition: Document, layer: str, button: str, form: Mapping[str, str]) -> str:
    """Do what a button of the layers does (``layer:<name>``, ``add-environment``, ``add-step``, ``forget-layer``).

    Returns the layer that is edited then.

    Raises:
        ValueError: an environment has no name.
    """
    if button.startswith("layer:"):
        wanted = button.removeprefix("layer:")
        return layer if part(definition, wanted) is None else wanted
    if button == "add-environment":
        name = form.get("new-environment", "").strip()
        if not name:
            raise ValueError("an environment has a name")
        definition["environments"] = {name: {}, **_environments(definition)}
        return _ENVIRONMENT + name
    if button == "add-step":
        tomorrow = datetime.now(UTC).replace(microsecond=0, second=0) + timedelta(days=1)
        definition["schedule"] = [*_steps(definition), {"at": tomorrow.isoformat()}]
        return f"{_STEP}{len(definition['schedule']) - 1}"
    if button == "forget-layer":
        _forget(definition, layer)
        return EVERYWHERE
    return layer


def place(layer: str, members: Mapping[str, Any]) -> str | None:
    """Return the environment that a layer is about, None for all."""
    return layer.removeprefix(_ENVIRONMENT) if layer.startswith(_ENVIRONMENT) else members.get("environment")


def typed_at(members: Mapping[str, Any]) -> str:
    """Return the instant of a step as a field takes it, in UTC."""
    try:
        return f"{datetime.fromisoformat(str(members.get('at'))).astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
    except ValueError:
        return ""


def _forget(definition: Document, layer: str) -> None:
    if layer.startswith(_ENVIRONMENT):
        _environments(definition).pop(layer.removeprefix(_ENVIRONMENT), None)
    elif layer.startswith(_STEP) and part(definition, layer) is not None:
        del _steps(definition)[int(layer.removeprefix(_STEP))]


def _instant(text: str) -> str:
    # the field has no zone; the page says that it means UTC
    return f"{datetime.fromisoformat(text.strip().removesuffix('Z')).isoformat()}Z"


def _environments(definition: Mapping[str, Any]) -> dict[str, Document]:
    found: Any = definition.get("environments")
    return cast("dict[str, Document]", found) if isinstance(found, dict) else {}


def _steps(definition: Mapping[str, Any]) -> list[Document]:
    found: Any = definition.get("schedule")
    return cast("list[Document]", found) if isinstance(found, list) else []
