"""GraphQL types of the API's models: a member of the one is a field of the other, by the same name."""

from __future__ import annotations

import types
from datetime import datetime
from typing import Any, Final, Literal, NewType, Union, get_args, get_origin

import strawberry
from pydantic import BaseModel
from strawberry.schema.config import StrawberryConfig

JSON = NewType("JSON", object)
Instant = NewType("Instant", str)
Long = NewType("Long", int)

SCALARS: Final[dict[object, Any]] = {
    JSON: strawberry.scalar(name="JSON", description="any JSON value", serialize=lambda value: value),
    Instant: strawberry.scalar(name="DateTime", description="an instant as RFC 3339", serialize=lambda value: value),
    # GraphQL's Int has 32 bits, which ids and counters outgrow
    Long: strawberry.scalar(name="Long", description="a whole number of 64 bits", serialize=lambda value: value),
}
_PLAIN: Final[dict[Any, Any]] = {bool: bool, int: Long, float: float, str: str, datetime: Instant}


def member(source: Any, name: str) -> Any:
    """Return a member of a document: the answers of the API are documents."""
    return source.get(name)


def config() -> StrawberryConfig:
    """Return names as they are in the API, and documents as values."""
    return StrawberryConfig(auto_camel_case=False, default_resolver=member, scalar_map=SCALARS)


class Models:
    """Makes one GraphQL type of each model."""

    def __init__(self) -> None:
        self._made: dict[type[BaseModel], Any] = {}

    def type_of(self, model: type[BaseModel], more: dict[str, Any] | None = None) -> Any:
        """Return the type of a model; ``more`` are fields of other origin, by name."""
        if model not in self._made:
            name = model.__name__.removesuffix("Out").removesuffix("Model")
            hints: dict[str, Any] = {}
            members: dict[str, Any] = {}
            for field, info in model.model_fields.items():
                # answers are read as the API writes them
                shown = info.alias or field
                hints[shown] = self.hint(info.annotation)
                members[shown] = strawberry.field(description=info.description)
            body = {"__annotations__": hints, "__module__": __name__, **members, **(more or {})}
            self._made[model] = strawberry.type(type(name, (), body), description=_first_line(model))
        return self._made[model]

    def page_of(self, model: type[BaseModel], item: Any) -> Any:
        """Return the type of a page: ``items``, and the cursor behind them."""
        hints: dict[str, Any] = {"items": list[item], "next": str | None}
        if "total" in model.model_fields:
            hints["total"] = Long | None
        name = model.__name__.removesuffix("Page") + "Page"
        return strawberry.type(type(name, (), {"__annotations__": hints, "__module__": __name__}))

    def hint(self, annotation: Any) -> Any:
        """Return how a member is annotated for GraphQL; what it has no type for is JSON."""
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin in (Union, types.UnionType):
            inner = [each for each in arguments if each is not type(None)]
            known = self.hint(inner[0]) if len(inner) == 1 else JSON
            return known | None if len(inner) < len(arguments) else known
        if origin is Literal:
            return str
        if hasattr(annotation, "__metadata__"):
            return self.hint(arguments[0])
        if origin in (list, tuple):
            return list[self.hint(arguments[0])]
        if isinstance(annotation, type):
            return self.type_of(annotation) if issubclass(annotation, BaseModel) else _PLAIN.get(annotation, JSON)
        # AwareDatetime is a name for checkers only
        return Instant if "datetime" in str(annotation).lower() else JSON


def _first_line(model: type[BaseModel]) -> str | None:
    return (model.__doc__ or "").strip().partition("\n")[0] or None
