"""What went wrong, on stderr: what happened, why, what next; and the exit code for its kind."""

from __future__ import annotations

import json
import sys
from typing import Any, Final, cast

import click

from valhalla.cli.text import printable
from valhalla.sdk.errors import ApiProblem, Unreachable

REFUSED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3


class Refusal(click.ClickException):
    """A command that cannot do what was asked, for a reason found on this side."""

    def __init__(self, code: str, detail: str, help: str = "") -> None:  # noqa: A002
        super().__init__(detail)
        self.code = code
        self.help = help


def report(error: Exception, *, as_json: bool) -> int:
    """Tell the user and return the exit code."""
    document, code = _describe(error)
    if as_json:
        sys.stderr.write(json.dumps(document, ensure_ascii=False) + "\n")
        return code
    if isinstance(error, click.UsageError):
        error.show(sys.stderr)
        return code
    sys.stderr.write("".join(f"{line}\n" for line in _lines(document)))
    return code


def _lines(document: dict[str, Any]) -> list[str]:
    title, detail = printable(document["title"]), printable(document["detail"])
    lines = [f"Error: {title}"]
    if detail.lower() != title.lower():
        lines.append(f"  why:  {detail}")
    lines += [f"        {printable(member)}" for member in _members(document.get("errors"))]
    if document.get("help"):
        first, *rest = str(document["help"]).splitlines()
        lines += [f"  next: {printable(first)}", *(f"        {printable(line)}" for line in rest)]
    if document.get("status", 0) >= 500 and document.get("correlation_id"):
        lines.append(f"  id:   {printable(document['correlation_id'])}")
    return lines


def _members(errors: object) -> list[str]:
    """Return one line per wrong member of the request; a single one is in the detail already."""
    items = cast("list[object]", errors) if isinstance(errors, list) else []
    if len(items) < 2:
        return []
    return [_member(cast("dict[str, object]", item)) if isinstance(item, dict) else str(item) for item in items]


def _member(item: dict[str, object]) -> str:
    return f"{item.get('pointer') or item.get('in') or '?'}: {item.get('detail') or ''}"


def _describe(error: Exception) -> tuple[dict[str, Any], int]:  # noqa: PLR0911 - one return a kind
    match error:
        case ApiProblem():
            return error.document(), REFUSED
        case Unreachable():
            return error.document(), UNREACHABLE
        case click.UsageError():
            return _document("usage", "The command line is not valid", error.format_message()), USAGE
        case Refusal():
            return _document(error.code, error.message, error.message, error.help), REFUSED
        case click.ClickException():
            return _document("failed", error.format_message(), error.format_message()), error.exit_code
        case UnicodeError():
            return _document("usage", "An argument is not valid UTF-8", str(error)), USAGE
        case _ if problem := _own_problem(error):
            return problem, REFUSED
        case OSError():
            return _document("os-error", "The operating system refused", _reason(error)), REFUSED
        case _:
            if sys.flags.dev_mode:
                raise error
            detail = f"{type(error).__name__}: {error}"
            hint = "This is a fault of ours: please report it with what PYTHONDEVMODE=1 makes it print."
            return _document("internal", "Something went wrong inside valhalla", detail, hint), REFUSED


def _own_problem(error: Exception) -> dict[str, Any] | None:
    """Return the document of a problem that was raised in this process, as ``up`` and ``db`` do."""
    from valhalla.kernel.problems import Problem

    return error.document() if isinstance(error, Problem) else None


def _reason(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _document(code: str, title: str, detail: str, help_text: str = "") -> dict[str, Any]:
    return {"type": f"/problems/{code}", "title": title, "detail": detail, "code": code, "help": help_text}
