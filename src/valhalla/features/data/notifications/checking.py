"""Which channels, rules and templates can be meant; a refusal points at the member. Pure."""

from __future__ import annotations

import re
import ssl
from typing import Final

from valhalla.features.data.notifications import timing
from valhalla.features.data.notifications.contracts import Channel, Digest, Quiet, Rule, Template
from valhalla.features.data.notifications.errors import BadChannel, BadRule, BadTemplate
from valhalla.features.data.notifications.rules import MOST_AT_ONCE, NAME, rate_of
from valhalla.kernel.alerting import Pattern
from valhalla.kernel.problems import Invalid

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")
# what could not be quoted or folded into something else: no spaces, no comma, no angle, no control character
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_SENDER: Final = re.compile(r"[^\x00-\x1f\x7f<>,;:\"\\]{0,100}<([^<>]{3,320})>")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "content-type", "user-agent", "x-correlation-id"}
)
_MOST_WAIT: Final = 3600.0


def check_channel(channel: Channel) -> None:
    """Accept a channel.

    Raises:
        BadChannel: it could never deliver; ``errors`` names the member.
    """
    _name(channel.name, BadChannel)
    for kind in ("email", "webhook", "apprise"):
        present = getattr(channel, kind) is not None
        if present != (kind == channel.kind):
            raise bad(BadChannel, kind, f"a channel of kind {channel.kind} has the member '{channel.kind}' alone")
    if not 0.1 <= channel.timeout <= 60.0:
        raise bad(BadChannel, "timeout", "a timeout is 0.1 to 60 seconds")
    if not 1 <= channel.attempts <= timing.MOST_ATTEMPTS:
        raise bad(BadChannel, "attempts", f"1 to {timing.MOST_ATTEMPTS} attempts")
    if not 1 <= channel.concurrency <= 64:
        raise bad(BadChannel, "concurrency", "1 to 64 at once")
    if channel.rate is not None and _rate(channel.rate, BadChannel)[0] > MOST_AT_ONCE:
        raise bad(BadChannel, "rate", f"at most {MOST_AT_ONCE:,} messages: take a shorter time")
    if channel.fallback == channel.name:
        raise bad(BadChannel, "fallback", "a channel cannot stand in for itself")
    _check_email(channel)
    _check_webhook(channel)


def _check_email(channel: Channel) -> None:
    if (email := channel.email) is None:
        return
    if _HOST.fullmatch(email.host) is None:
        raise bad(BadChannel, "email/host", "the name or address of a host, in lower case")
    if not 0 < email.port < 65_536:
        raise bad(BadChannel, "email/port", "a port is 1 to 65535")
    named = _SENDER.fullmatch(email.sender)
    if _ADDRESS.fullmatch(named[1] if named else email.sender) is None:
        raise bad(BadChannel, "email/sender", "a mail address, or a name and a mail address in <>")
    _check_authorities("email/authorities", email.authorities)
    if not email.recipients:
        raise bad(BadChannel, "email/recipients", "at least one recipient")
    for n, address in enumerate(email.recipients):
        if _ADDRESS.fullmatch(address) is None:
            raise bad(BadChannel, f"email/recipients/{n}", "a mail address")


def _check_authorities(pointer: str, pem: str | None) -> None:
    if pem is None:
        return
    try:
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError):
        # as a cause it would look like a lost connection
        raise bad(BadChannel, pointer, "certificates in PEM") from None


def _check_webhook(channel: Channel) -> None:
    if (webhook := channel.webhook) is None:
        return
    _check_authorities("webhook/authorities", webhook.authorities)
    if not webhook.signatures:
        raise bad(BadChannel, "webhook/signatures", "at least one of v1 and v1a")
    if webhook.form == "template" and channel.template is None:
        raise bad(BadChannel, "template", "the form 'template' needs one")
    if re.fullmatch(r"[a-z]+/[a-z0-9.+-]+(?:; ?charset=utf-8)?", webhook.content_type) is None:
        raise bad(BadChannel, "webhook/content_type", "a media type such as application/json")
    for name in webhook.header_names:
        if _TOKEN.fullmatch(name) is None or name.lower() in _OURS or name.lower().startswith("webhook-"):
            raise bad(BadChannel, "webhook/headers", f"{name[:50]!a} is no header that can be set")


def check_rule(rule: Rule) -> None:
    """Accept a rule.

    Raises:
        BadRule: it contradicts itself; ``errors`` names the member.
    """
    _name(rule.name, BadRule)
    if not rule.channels:
        raise bad(BadRule, "channels", "at least one channel")
    if not rule.events:
        raise bad(BadRule, "events", "at least one pattern, such as alert.*")
    for n, text in enumerate(rule.events):
        try:
            Pattern(text)
        except Invalid as error:
            raise bad(BadRule, f"events/{n}", error.detail) from error
    if rule.fallback in rule.channels:
        raise bad(BadRule, "fallback", "a channel cannot stand in for itself")
    if not 0.0 <= rule.group_wait <= _MOST_WAIT:
        raise bad(BadRule, "group_wait", f"0 to {_MOST_WAIT:.0f} seconds")
    if rule.group_by and not rule.group_wait:
        raise bad(BadRule, "group_wait", "grouping needs some seconds in which others may come")
    if rule.digest is not None and (rule.group_by or rule.group_wait or rule.rate):
        raise bad(BadRule, "digest", "a digest gathers everything: it has no grouping and no rate")
    if rule.rate is not None:
        _rate(rule.rate, BadRule)
    if rule.quiet is not None:
        _check_quiet(rule.quiet)
    if rule.digest is not None:
        _check_digest(rule.digest)


def _rate(text: str, kind: type[Invalid]) -> tuple[int, float]:
    try:
        return rate_of(text)
    except Invalid as error:
        raise bad(kind, "rate", error.detail) from error


def _check_quiet(quiet: Quiet) -> None:
    for name in ("start", "end"):
        try:
            timing.wall(getattr(quiet, name))
        except ValueError as error:
            raise bad(BadRule, f"quiet/{name}", str(error)) from error
    if quiet.start == quiet.end:
        raise bad(BadRule, "quiet/end", "quiet hours end at another time than they begin")
    if not quiet.days:
        raise bad(BadRule, "quiet/days", "at least one day")
    _check_zone("quiet/zone", quiet.zone)


def _check_digest(digest: Digest) -> None:
    if (digest.every is None) == (digest.at is None):
        raise bad(BadRule, "digest", "either 'every' so many seconds, or once a day 'at' a time")
    if digest.every is not None and not 60 <= digest.every <= 7 * 86_400:
        raise bad(BadRule, "digest/every", "60 seconds to a week")
    if digest.at is not None:
        try:
            timing.wall(digest.at)
        except ValueError as error:
            raise bad(BadRule, "digest/at", str(error)) from error
    _check_zone("digest/zone", digest.zone)


def _check_zone(pointer: str, name: str) -> None:
    try:
        timing.zone(name)
    except ValueError as error:
        raise bad(BadRule, pointer, str(error)) from error


def check_template(template: Template) -> None:
    """Accept a template; what it says is looked at where it can be rendered.

    Raises:
        BadTemplate: it is empty.
    """
    _name(template.name, BadTemplate)
    if not template.body.strip():
        raise bad(BadTemplate, "body", "an empty template says nothing")


def _name(name: str, kind: type[Invalid]) -> None:
    if re.fullmatch(NAME, name) is None:
        raise bad(kind, "name", f"a name has the form {NAME}")


def bad(kind: type[Invalid], pointer: str, detail: str) -> Invalid:
    """Return the problem of one member."""
    return kind(f"/{pointer}: {detail}", errors=[{"in": "body", "pointer": f"/{pointer}", "detail": detail}])
