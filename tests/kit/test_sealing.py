"""What was sealed by any release opens by this one; what was sealed under one name opens under no other."""

from __future__ import annotations

import base64

import msgspec
import pytest

from valhalla.features.data.notifications.contracts import Secrets
from valhalla.features.data.notifications.sealing import sealer
from valhalla.kernel.problems import Misconfigured
from valhalla.kit.cellkey import CellKey
from valhalla.kit.sealing import Boxes, Sealer, Unopened
from valhalla.sandbox.routing.http.webhooks.contracts import Receiver
from valhalla.sandbox.routing.http.webhooks.masking import Masking

CELL = CellKey(b"k" * 32)
# written by releases in which each of them sealed by itself
CHANNEL = (
    "wOvQqbTdNG8NyjM1UEbkuWtJyoXZjfntPZVJz+2RcJBI+oGihM+G9sA2W0e7LLbi/mNcCfYoEemqy5IRomZQcRC7L8ZweofpkAs7pfkBAUZGRODj"
    "8dBstgaXhc6nXzmJgYOS3nN4sQg6X3irOC7P9azWA8FyqWFqJR4W"
)
RECEIVER = "Tndpf1Q+yWYTzDfZI5je+LIXrv+IkW/jdy2ZQkg+61g4jDWPe4KUd5zQWCtSLd5Tp+vjaOCzpR8Jk8+JFyU="
HANDOUT = "YGywtV+VpsdgCa++8m1Uh0HHMeLfLe/IOk5YG677ncmZleWBZT6g4YOV+yaD"


class Pair(msgspec.Struct, frozen=True):
    """Some secrets."""

    one: str
    other: str = ""


def test_what_is_stored_stays_readable() -> None:
    assert sealer(CELL).open("ops", CHANNEL) == Secrets(password="hunter2")
    receiver = Receiver(name="shop", kind="tenant", key_from="path", scheme="hmac", sealed_secrets=RECEIVER)
    assert Masking(CELL).secrets(receiver) == ("whsec_one",)
    assert Boxes(CELL, "admin.handout").open("op1", base64.b64decode(HANDOUT)) == b"token"


def test_what_was_sealed_opens_here_and_under_its_name_alone() -> None:
    seals = Sealer(CELL, "a", Pair, "pair")
    sealed = seals.seal("x", Pair("hunter2"))
    assert seals.open("x", sealed) == Pair("hunter2")
    assert sealed != seals.seal("x", Pair("hunter2"))
    for other, name, text in (
        (seals, "y", sealed),
        (Sealer(CELL, "b", Pair, "pair"), "x", sealed),
        (Sealer(CellKey(b"l" * 32), "a", Pair, "pair"), "x", sealed),
        (seals, "x", sealed[:-8] + "AAAAAAA="),
        (seals, "x", ""),
        (seals, "x", "no base64"),
    ):
        with pytest.raises(Misconfigured, match="the secrets of the pair"):
            other.open(name, text)
    with pytest.raises(Unopened):
        Boxes(CELL, "a").open("x", b"short")
