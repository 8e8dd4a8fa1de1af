"""What clients send about sandboxes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator

from valhalla.kit.http import WireModel

# the example that the documentation and the tests send
EXAMPLE = {
    "name": "checkout-fix",
    "template": "community",
    "ttl": "24h",
    "tags": ["ci", "branch:checkout"],
    "routes": [{"kind": "discord.guild", "key": "811234567890123456"}],
}


def _ttl(value: Any) -> Any:
    """Take the forms a TTL may have; the rules decide about its length."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or len(str(value)[:65]) > 64:
        raise ValueError("a TTL is a number of seconds or a text such as '90m', '24h' or '7d'")
    return value


# one validator, not a union: its error names the member once
Ttl = Annotated[str | int | float, PlainValidator(_ttl, json_schema_input_type=str | int | float)]


class RouteIn(WireModel):
    """A route to claim."""

    kind: str = Field(max_length=63, examples=["discord.guild"])
    key: str = Field(max_length=128, examples=["811234567890123456"])


class SandboxIn(WireModel):
    """A sandbox to make; every member is optional."""

    model_config = {**WireModel.model_config, "json_schema_extra": {"examples": [EXAMPLE]}}

    name: str | None = Field(None, max_length=63, description="generated when absent")
    owner: str | None = Field(None, max_length=63, description="the key's owner when absent; another's needs admin")
    template: str = Field("community", max_length=63)
    ttl: Ttl | None = Field(None, description="'90m', '24h', '7d' or seconds; 24h when absent", examples=["24h"])
    description: str | None = Field(None, max_length=500)
    tags: list[str] = Field(default_factory=list[str], max_length=20)
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    routes: list[RouteIn] = Field(default_factory=list[RouteIn], max_length=50)
    slices: list[str] | None = Field(
        None,
        max_length=20,
        description="postgres, valkey, nats, sqlite; the first three when absent",
        examples=[["postgres", "sqlite"]],
    )


class ExtendIn(WireModel):
    """How much longer."""

    ttl: Ttl = Field(description="'90m', '24h', '7d' or seconds", examples=["24h"])
