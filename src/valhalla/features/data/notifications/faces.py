"""How the registries of notifications look over HTTP; what of a channel is secret goes in and never out."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.data.notifications.checking import bad
from valhalla.features.data.notifications.contracts import Channel, Rule, Template
from valhalla.features.data.notifications.errors import (
    BadChannel,
    BadRule,
    ChannelInUse,
    ChannelNotFound,
    RuleNotFound,
    TemplateNotFound,
)
from valhalla.features.data.notifications.masking import Masking
from valhalla.features.data.notifications.policy import Policy
from valhalla.features.data.notifications.rules import NAME
from valhalla.features.data.notifications.wire import ChannelModel, RuleModel, TemplateModel
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid
from valhalla.kit.http import WireModel
from valhalla.kit.registry import Change, Registry
from valhalla.kit.registry_routes import Face

T = TypeVar("T", bound=msgspec.Struct)
PREFIX: Final = "/system/notify"
READ: Final = "notifications:read"
WRITE: Final = "notifications:write"


def _face(registry: Registry[T], path: str, noun: str, model: type[WireModel], **more: Any) -> Face[T]:
    """Return what the three have in common."""
    return Face(
        registry=registry,
        prefix=f"{PREFIX}/{path}",
        tag="notifications",
        noun=f"notification {noun}",
        read=READ,
        write=WRITE,
        model=model,
        key="name",
        key_form=NAME,
        **more,
    )


def channel_face(policy: Policy, masking: Masking) -> Face[Channel]:
    """Return ``/system/notify/channels``."""

    def look(_conn: Connection, _principal: Principal, changes: Sequence[Change]) -> None:
        made = {each.key for each in changes if each.after is not None}
        for change in changes:
            if change.after is not None:
                _look(policy, BadChannel, change.after, made)
            elif named := policy.named_by(change.key):
                raise ChannelInUse(f"'{change.key}' is named by {', '.join(named[:5])}", named_by=named)

    def make(name: str, model: ChannelModel, before: Channel | None, _principal: Principal) -> Channel:
        return masking.make(name, model, before)

    return _face(
        policy.channels,
        "channels",
        "channel",
        ChannelModel,
        example={"kind": "webhook", "webhook": {"url": "https://example.com/hooks/valhalla"}},
        key_example="ops",
        make=make,
        show=masking.show,
        filters=("kind", "enabled"),
        search=("description",),
        check=look,
        missing=ChannelNotFound,
    )


def rule_face(policy: Policy) -> Face[Rule]:
    """Return ``/system/notify/rules``."""

    def look(_conn: Connection, _principal: Principal, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.after is not None:
                _look(policy, BadRule, change.after)

    return _face(
        policy.rules,
        "rules",
        "rule",
        RuleModel,
        example={"channels": ["ops"], "events": ["alert.*"], "minimum": "error"},
        key_example="alerts-to-ops",
        show=msgspec.to_builtins,
        filters=("enabled", "channels"),
        search=("description",),
        check=look,
        missing=RuleNotFound,
        reserved=frozenset({"test"}),
    )


def template_face(policy: Policy) -> Face[Template]:
    """Return ``/system/notify/templates``."""
    return _face(
        policy.templates,
        "templates",
        "template",
        TemplateModel,
        example={"body": "{{ event.title }} since {{ event.at }}"},
        key_example="short",
        search=("description",),
        missing=TemplateNotFound,
        reserved=frozenset({"preview"}),
    )


def _look(policy: Policy, kind: type[Invalid], after: Mapping[str, Any], made: Container[str] = ()) -> None:
    """Refuse a record that names a channel or template which is neither there nor among those that are ``made``."""
    channels = [(f"channels/{n}", name) for n, name in enumerate(after.get("channels", ()))]
    for pointer, name in [*channels, ("fallback", after.get("fallback"))]:
        if name is not None and name not in made and policy.channel(name) is None:
            raise bad(kind, pointer, f"there is no channel '{name}'")
    template = after.get("template")
    if template is not None and policy.template(template) is None:
        raise bad(kind, "template", f"there is no template '{template}'")
