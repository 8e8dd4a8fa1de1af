"""The face that a tool shows to a model: the action's own parameters behind the framework's context."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def with_context(call: Callable[..., Any], function: Callable[..., Any], context: Any) -> Callable[..., Any]:
    """Give ``call(ctx, ...)`` the name, the text and the parameters of ``function``, from which schemas are made."""
    hints = get_type_hints(function, include_extras=True)
    signature = inspect.signature(function)
    first = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_ONLY, annotation=context)
    rest = [p.replace(annotation=hints.get(p.name, p.annotation)) for p in signature.parameters.values()]
    returns = hints.get("return", signature.return_annotation)
    face: Any = call
    face.__signature__ = signature.replace(parameters=[first, *rest], return_annotation=returns)
    # what a refused call answers is text, so the return type is not promised
    face.__annotations__ = {"ctx": context, **{k: v for k, v in hints.items() if k != "return"}}
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(face, name, getattr(function, name))
    return call
