"""How the registries of notifications look over HTTP; what of a channel is secret goes in and never out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy.engine import Connection

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
from valhalla.kit.registry import Change
from valhalla.kit.registry_routes import Face

PREFIX: Final = "/system/notify"
READ: Final = "notifications:read"
WRITE: Final = "notifications:write"


def channel_face(policy: Policy, masking: Masking) -> Face[Channel]:
    """Return ``/system/notify/channels``."""

    def look(_conn: Connection, _principal: Principal, changes: Sequence[Change]) -> None:
        for change in changes:
            _look_at_channel(policy, change, {each.key for each in changes if each.after is not None})

    return Face(
        registry=policy.channels,
        prefix=f"{PREFIX}/channels",
        tag="notifications",
        noun="notification channel",
        read=READ,
        write=WRITE,
        model=ChannelModel,
        example={"kind": "webhook", "webhook": {"url": "https://example.com/hooks/valhalla"}},
        key="name",
        key_form=NAME,
        key_example="ops",
        make=lambda name, model, before, _principal: masking.make(name, model, before),
        show=masking.show,
        filters=("kind", "enabled"),
        search=("description",),
        check=look,
        missing=ChannelNotFound,
    )


def _look_at_channel(policy: Policy, change: Change, made: set[str]) -> None:
    if change.after is None:
        named = policy.named_by(change.key)
        if named:
            raise ChannelInUse(f"'{change.key}' is named by {', '.join(named[:5])}", named_by=named)
        return
    fallback: Any = change.after.get("fallback")
    if fallback is not None and fallback not in made and policy.channel(fallback) is None:
        raise _unknown(BadChannel, "fallback", fallback)
    template: Any = change.after.get("template")
    if template is not None and policy.template(template) is None:
        raise _unknown(BadChannel, "template", template)


def rule_face(policy: Policy) -> Face[Rule]:
    """Return ``/system/notify/rules``."""

    def look(_conn: Connection, _principal: Principal, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.after is not None:
                _look_at_rule(policy, change.after)

    return Face(
        registry=policy.rules,
        prefix=f"{PREFIX}/rules",
        tag="notifications",
        noun="notification rule",
        read=READ,
        write=WRITE,
        model=RuleModel,
        example={"channels": ["ops"], "events": ["alert.*"], "minimum": "error"},
        key="name",
        key_form=NAME,
        key_example="alerts-to-ops",
        show=msgspec.to_builtins,
        filters=("enabled", "channels"),
        search=("description",),
        check=look,
        missing=RuleNotFound,
        reserved=frozenset({"test"}),
    )


def _look_at_rule(policy: Policy, after: Mapping[str, Any]) -> None:
    for n, channel in enumerate(after.get("channels", ())):
        if policy.channel(channel) is None:
            raise _unknown(BadRule, f"channels/{n}", channel)
    fallback = after.get("fallback")
    if fallback is not None and policy.channel(fallback) is None:
        raise _unknown(BadRule, "fallback", fallback)
    template = after.get("template")
    if template is not None and policy.template(template) is None:
        raise _unknown(BadRule, "template", template)


def template_face(policy: Policy) -> Face[Template]:
    """Return ``/system/notify/templates``."""
    return Face(
        registry=policy.templates,
        prefix=f"{PREFIX}/templates",
        tag="notifications",
        noun="notification template",
        read=READ,
        write=WRITE,
        model=TemplateModel,
        example={"body": "{{ event.title }} since {{ event.at }}"},
        key="name",
        key_form=NAME,
        key_example="short",
        search=("description",),
        missing=TemplateNotFound,
        reserved=frozenset({"preview"}),
    )


def _unknown(kind: type[BadChannel | BadRule], pointer: str, name: str) -> BadChannel | BadRule:
    detail = f"there is no {'template' if pointer == 'template' else 'channel'} '{name}'"
    return kind(f"/{pointer}: {detail}", errors=[{"in": "body", "pointer": f"/{pointer}", "detail": detail}])
