"""Receivers as clients write them and as they are stored: signing secrets are sealed on the way in, and never shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from valhalla.kernel.problems import Misconfigured
from valhalla.kit.cellkey import CellKey
from valhalla.kit.sealing import MASK, Sealer
from valhalla.sandbox.routing.http.webhooks.contracts import Receiver, Secrets
from valhalla.sandbox.routing.http.webhooks.rules import bad
from valhalla.sandbox.routing.http.webhooks.signatures import standard_secret
from valhalla.sandbox.routing.http.webhooks.wire import ReceiverModel


class Masking:
    """Turns the one into the other."""

    def __init__(self, cell: CellKey) -> None:
        self._sealer = Sealer(cell, "ingress.receiver", Secrets, "receiver")

    def make(self, name: str, model: ReceiverModel, before: Receiver | None) -> Receiver:
        """Return what is stored; ``***`` in the place of a secret keeps the one that is there.

        Raises:
            BadReceiver: a secret has no valid form, or is to be kept where there is none.
        """
        known = self._known(before, model)
        # a change of other members need not name secrets, nor know them
        given = known if model.secrets is None else _kept(model.secrets, known)
        if (model.scheme == "none") != (not given):
            raise bad("secrets", "the scheme 'none' has no secrets, every other at least one")
        for number, secret in enumerate(given):
            _check(model.scheme, number, secret)
        plain = model.model_dump(exclude={"secrets"})
        same = before is not None and given == known
        sealed = before.sealed_secrets if same and before is not None else self._seal(name, Secrets(tuple(given)))
        return Receiver(name=name, sealed_secrets=sealed, **plain)

    def show(self, receiver: Receiver) -> dict[str, Any]:
        """Return what clients see: how many secrets there are, and nothing of them."""
        shown: dict[str, Any] = msgspec.to_builtins(receiver)
        sealed = bool(shown.pop("sealed_secrets"))
        try:
            number = len(self.secrets(receiver))
        except Misconfigured:
            # one that takes nothing any more can still be looked at, and be given new ones
            number = int(sealed)
        return shown | {"secrets": [MASK] * number}

    def _known(self, before: Receiver | None, model: ReceiverModel) -> tuple[str, ...]:
        # who gives all of them anew needs none of the old ones, which may be lost
        if before is None or (model.secrets is not None and MASK not in model.secrets):
            return ()
        return self.secrets(before)

    def secrets(self, receiver: Receiver) -> tuple[str, ...]:
        """Return what a receiver verifies with.

        Raises:
            Misconfigured: it was sealed by another installation, for another receiver, or was changed.
        """
        if not receiver.sealed_secrets:
            return ()
        return self._sealer.open(receiver.name, receiver.sealed_secrets).keys

    def _seal(self, name: str, secrets: Secrets) -> str:
        return self._sealer.seal(name, secrets) if secrets.keys else ""


def _kept(given: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    for number, secret in enumerate(given):
        if secret == MASK and number >= len(known):
            raise bad(f"secrets/{number}", "there is no secret in this place to keep")
    return tuple(known[number] if secret == MASK else secret for number, secret in enumerate(given))


def _check(scheme: str, number: int, secret: str) -> None:
    if scheme == "standard":
        try:
            standard_secret(secret)
        except ValueError as error:
            raise bad(f"secrets/{number}", str(error)) from error
    # so short a key is found by trying
    elif len(secret) < 8 or not secret.isascii() or not secret.isprintable():
        raise bad(f"secrets/{number}", "a secret is 8 or more printable ASCII characters")
