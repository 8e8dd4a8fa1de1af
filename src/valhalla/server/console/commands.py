"""Actions that the CLI has, too: the command beside the request, to copy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from valhalla.server.console.contracts import Action, Field
from valhalla.server.console.showing import pick

_INPUT: Final = re.compile(r"\{([\w.]+)(?::([a-z]+))?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commanded(Action):
    """An action with its command: in it ``{one}`` is the key, ``{input}`` what is typed, also as ``--option=``.

    What is empty and not required is left out. ``{input:seconds}`` writes seconds as a duration, ``{input:until}`` how
    long it is until an instant, ``{input:utc}`` an instant with its zone.
    """

    cli: str

    def command(self, key: str, fields: Sequence[tuple[Field, str]], record: Mapping[str, Any]) -> str:
        """Return the command as a shell takes it, or nothing where it could not say all that was typed.

        Nor where a value would act as an option or on a terminal. What is still missing is named in capital letters.
        """
        said_by_it = {name for name, _ in _INPUT.findall(self.cli)}
        if any(value and value != each.default and each.name not in said_by_it for each, value in fields):
            # without it the command would do another thing, or the same to more
            return ""
        typed: dict[str, tuple[Field | None, str]] = {
            "one": (None, key),
            **{each.name: (each, v) for each, v in fields},
        }
        words: list[str] = []
        for word in self.cli.split():
            names = _INPUT.findall(word)
            found = [typed.get(name, (None, str(pick(record, name) or ""))) for name, _ in names]
            if not all(value.replace("\n", "").replace("\r", "").isprintable() for _, value in found):
                return ""
            if not names:
                words.append(word)
            elif word.startswith("--"):
                words += _option(word.partition("=")[0], *found[0], names[0][1])
            elif all(value for _, value in found):
                # one word for the shell, whatever is in it
                values = iter(value for _, value in found)
                words.append(shlex.quote(said := _INPUT.sub(lambda _, values=values: next(values), word)))
                # it would be an option, such as another server to send the key to
                if said.startswith("-"):
                    return ""
            elif any(field is None or field.required for field, _ in found):
                words.append(_INPUT.sub(lambda name: name[1].rpartition(".")[2].upper(), word))
        return " ".join(words)


def _option(option: str, field: Field | None, value: str, form: str) -> list[str]:
    if field is not None and field.input == "check":
        return [option] if value else []
    if not value and field is not None and field.required:
        return [f"{option}={field.name.rpartition('.')[2].upper()}"]
    many = value.replace("\n", ",").split(",") if field is not None and field.input == "list" else [value]
    return [f"{option}={shlex.quote(_said(one, form))}" for each in many if (one := each.strip())]


def _said(value: str, form: str) -> str:
    try:
        match form:
            case "seconds":
                return f"{int(value)}s"
            case "utc":
                return f"{value.removesuffix('Z')}Z"
            case "until":
                until = datetime.fromisoformat(value.removesuffix("Z")).replace(tzinfo=UTC)
                return f"{max(60, round((until - datetime.now(UTC)).total_seconds()))}s"
            case _:
                return value
    except ValueError:
        # half typed: the form says what is wrong with it
        return value
