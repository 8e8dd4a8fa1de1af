"""A function's parameters, looked at once: how any call of it becomes the same tuple of values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from valhalla.guard.errors import BadDeclaration

_EMPTY: Final = inspect.Parameter.empty


class Binder:
    """Turns the arguments of a call into values in the order of the parameters, defaults filled in.

    A first parameter ``self`` or ``cls`` is left out of what is returned: it is no argument of the effect.
    """

    __slots__ = ("_defaults", "_position", "_required", "_signature", "count", "names", "plain", "skip")

    def __init__(self, function: Callable[..., Any]) -> None:
        """Look at ``function``; one without a signature is taken as ``(*args, **kwargs)``."""
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            signature = inspect.signature(lambda *args, **kwargs: None)  # pyright: ignore[reportUnknownLambdaType]
        parameters = list(signature.parameters.values())
        self.skip = 1 if parameters and parameters[0].name in ("self", "cls") else 0
        self._signature = signature
        self.names = tuple(parameter.name for parameter in parameters)
        self._position = {name: index for index, name in enumerate(self.names)}
        self._defaults = tuple(parameter.default for parameter in parameters)
        self.count = len(parameters)
        # with nothing but ordinary parameters, positional arguments are already what is wanted
        self.plain = all(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters)
        self._required = sum(p.default is _EMPTY for p in parameters)

    def values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return all arguments in order, also ``self``; variable ones as one tuple and one dictionary.

        Raises:
            TypeError: the function could not be called with them.
        """
        if not self.plain:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return tuple(bound.arguments.values())
        given = len(args)
        if given == self.count and not kwargs:
            return args
        if given > self.count:
            self._signature.bind(*args, **kwargs)
        found = [*args, *self._defaults[given:]]
        for name, value in kwargs.items():
            index = self._position.get(name, -1)
            if index < given:
                # an unknown or doubled argument: the signature words the error
                self._signature.bind(*args, **kwargs)
            found[index] = value
        if any(value is _EMPTY for value in found):
            self._signature.bind(*args, **kwargs)
        return tuple(found)

    def index(self, name: str, what: str) -> int:
        """Return the place of the parameter ``name``.

        Raises:
            BadDeclaration: there is none; ``what`` is the option that named it.
        """
        if name in self._position:
            return self._position[name]
        raise BadDeclaration(f"{what}={name!r} names no parameter; there are {', '.join(self.names) or 'none'}")

    def named(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """Return the arguments by name, without ``self``."""
        return dict(zip(self.names[self.skip :], values[self.skip :], strict=False))
