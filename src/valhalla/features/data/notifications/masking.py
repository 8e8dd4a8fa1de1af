"""A channel as clients write it, and as it is stored: secrets are sealed on the way in and masked on the way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from valhalla.features.data.notifications import signing
from valhalla.features.data.notifications.checking import bad
from valhalla.features.data.notifications.contracts import Apprise, Channel, Email, Secrets, Webhook
from valhalla.features.data.notifications.errors import BadChannel
from valhalla.features.data.notifications.wire import ChannelModel, WebhookModel
from valhalla.kernel.problems import Invalid
from valhalla.kit.outgoing_guard import Reach
from valhalla.kit.sealing import MASK, Sealer

_MOST_SCHEME: Final = 30


class Masking:
    """Turns the one into the other. What a client does not send, or sends as it is shown, stays as it was."""

    def __init__(self, sealer: Sealer[Secrets], reach: Reach) -> None:
        self._sealer = sealer
        self._reach = reach

    def make(self, name: str, model: ChannelModel, before: Channel | None) -> Channel:
        """Return what is stored.

        Raises:
            BadChannel: a secret has no valid form, or is to be kept where there is none.
        """
        known = Secrets() if before is None else self._sealer.open(name, before.sealed_secrets)
        secrets = Secrets()
        email = webhook = apprise = None
        if model.email is not None:
            password = _kept(model.email.password, known.password)
            secrets = Secrets(password=password)
            members = model.email.model_dump(exclude={"password"})
            email = msgspec.convert(members, Email)
        if model.webhook is not None:
            webhook, secrets = self._webhook(model.webhook, known)
        if model.apprise is not None:
            urls = _unmasked(model.apprise.urls, known.urls)
            for n, url in enumerate(urls):
                if "://" not in url or url.endswith(f"://{MASK}"):
                    raise bad(BadChannel, f"apprise/urls/{n}", "an apprise URL such as slack://A/B/C")
            secrets = Secrets(urls=tuple(urls))
            apprise = Apprise(tuple(url.partition("://")[0][:_MOST_SCHEME] for url in urls))
        same = before is not None and secrets == known
        plain = model.model_dump(exclude={"email", "webhook", "apprise"})
        sealed = before.sealed_secrets if same and before is not None else self._sealer.seal(name, secrets)
        return Channel(name=name, sealed_secrets=sealed, email=email, webhook=webhook, apprise=apprise, **plain)

    def _webhook(self, model: WebhookModel, known: Secrets) -> tuple[Webhook, Secrets]:
        url = known.url if known.url is not None and model.url == shown_url(known.url) else model.url
        try:
            self._reach.check_url(url)
        except Invalid as problem:
            raise bad(BadChannel, "webhook/url", problem.detail) from problem
        keys, old_until = known.keys, known.old_until
        if model.secret not in (None, MASK):
            assert model.secret is not None
            try:
                signing.raw(model.secret)
            except ValueError as error:
                raise bad(BadChannel, "webhook/secret", str(error)) from error
            keys, old_until = ((model.secret,), None) if model.secret not in keys[:1] else (keys, old_until)
        headers: dict[str, str] = {}
        for name, value in model.headers.items():
            found = known.headers.get(name) if value == MASK else value
            if found is None or not found.isascii() or not found.isprintable():
                raise bad(BadChannel, "webhook/headers", "the value of a header is printable ASCII on one line")
            headers[name] = found
        if not keys:
            keys = (signing.new_secret(),)
        stored = Webhook(
            url=shown_url(url),
            form=model.form,
            signatures=tuple(model.signatures),
            content_type=model.content_type,
            header_names=tuple(headers),
            authorities=model.authorities,
        )
        return stored, Secrets(keys=keys, old_until=old_until, headers=headers, url=url)

    def show(self, channel: Channel) -> dict[str, Any]:
        """Return what clients see: nothing of what is sealed."""
        shown: dict[str, Any] = msgspec.to_builtins(channel)
        shown.pop("sealed_secrets")
        if channel.webhook is not None:
            members = shown["webhook"]
            members["headers"] = dict.fromkeys(members.pop("header_names"), MASK)
        if channel.apprise is not None:
            shown["apprise"] = {"urls": [f"{service}://{MASK}" for service in channel.apprise.services]}
        return {key: value for key, value in shown.items() if value is not None or key not in _KINDS}

    def rotated(self, channel: Channel, secret: str, old_until: Any) -> Channel:
        """Return a webhook's channel that signs with a new secret, and until then with the old one, too."""
        known = self._sealer.open(channel.name, channel.sealed_secrets)
        keys = (secret, *known.keys[:1]) if old_until is not None else (secret,)
        secrets = msgspec.structs.replace(known, keys=keys, old_until=old_until)
        return msgspec.structs.replace(channel, sealed_secrets=self._sealer.seal(channel.name, secrets))

    def signing_keys(self, channel: Channel) -> int:
        """Return how many symmetric secrets a channel has."""
        return len(self._sealer.open(channel.name, channel.sealed_secrets).keys)


_KINDS: Final = frozenset({"email", "webhook", "apprise"})


def shown_url(url: str) -> str:
    """Return a URL without what may be a secret in it."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("?")[0].partition("/")[0]
    return f"{scheme}://{host}" if rest.rstrip("/") == host else f"{scheme}://{host}/{MASK}"


def shown_service(url: str) -> str:
    """Return an apprise URL without what may be a secret in it."""
    return f"{url.partition('://')[0][:_MOST_SCHEME]}://{MASK}"


def _unmasked(given: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return URLs in which those that are masked are the known ones: the first of a kind is the first of that kind."""
    left = list(known)
    found: list[str] = []
    for url in given:
        same = next((each for each in left if shown_service(each) == url), None)
        if same is not None:
            left.remove(same)
        found.append(url if same is None else same)
    return found


def _kept(given: str | None, known: str | None) -> str | None:
    """Return a secret: what is absent or masked stays as it was, what is empty is removed."""
    if given is None or given == MASK:
        return known
    return given or None
