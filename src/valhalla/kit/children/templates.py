"""The child that renders Jinja2 templates in its sandbox; what loops or fills memory here is killed by the parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from valhalla.kit.children.serving import serve


class _Quiet(Undefined):
    """What an event does not have is empty, however deep somebody looks into it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> Any:
        return self


def _environment(*, html: bool, strict: bool) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        autoescape=html, undefined=StrictUndefined if strict else _Quiet, keep_trailing_newline=False
    )


_ENVIRONMENTS = {
    (html, strict): _environment(html=html, strict=strict) for html in (False, True) for strict in (False, True)
}


def render(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Render each part of ``parts`` (``html`` escapes), at most ``most`` characters of each."""
    rendered: dict[str, str] = {}
    for name, source in request["parts"].items():
        environment = _ENVIRONMENTS[name == "html", bool(request.get("strict"))]
        try:
            rendered[name] = _bounded(environment.from_string(source).generate(request["context"]), request["most"])
        except TemplateError as error:
            return {"error": str(error)[:500], "part": name, "line": getattr(error, "lineno", None)}
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            return {"error": f"{type(error).__name__}: {str(error)[:400]}", "part": name, "line": None}
    return {"rendered": rendered}


def _bounded(parts: Any, most: int) -> str:
    kept: list[str] = []
    for part in parts:
        kept.append(part)
        most -= len(part)
        if most < 0:
            raise OverflowError("the text is too long")
    return "".join(kept)


if __name__ == "__main__":
    serve(render)
