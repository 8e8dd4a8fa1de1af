"""Keep a secret for who asked for it, and hand it out once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.operations.admin.contracts import KIND, Order
from valhalla.features.operations.admin.errors import HandoutGone
from valhalla.features.operations.admin.handouts import store
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.sealing import Boxes, Unopened

LASTS: Final = timedelta(hours=24)


class Handouts:
    """Sealed with a key that derives from the cell key: who reads the database, or its backup, has none of them."""

    def __init__(self, db: Database, ledger: Ledger, cell: CellKey, *, clock: Clock) -> None:
        self._db = db
        self._ledger = ledger
        self._boxes = Boxes(cell, "admin.handout")
        self._clock = clock

    def keep(self, conn: Connection, order: Order, action: str, subject: str, secret: str) -> None:
        """Keep the secret that an action made, in the transaction that made it. Its id is the operation's."""
        now = self._clock.now()
        row: dict[str, Any] = {
            "id": order.id,
            "owner": order.principal.owner,
            "action": action,
            "subject": subject,
            "sealed": self._boxes.seal(order.id, secret.encode()),
            "made_at": now,
            "expires_at": now + LASTS,
        }
        store.add(conn, row)

    async def waiting(self, principal: Principal) -> Sequence[RowMapping]:
        """Return what waits for somebody, without the secrets."""
        return await self._db.read(store.waiting, principal.owner, self._clock.now())

    async def take(self, principal: Principal, id_: str) -> tuple[RowMapping, str]:
        """Hand out one secret; from now on nobody can have it.

        Raises:
            HandoutGone: it was taken, nobody came in time, or it is somebody else's.
        """

        def work(conn: Connection) -> RowMapping:
            row = store.take(conn, id_, principal.owner, self._clock.now())
            if row is None:
                raise HandoutGone(f"nothing waits for you under {id_[:64]!a}")
            details = {"action": row["action"], "of": row["subject"]}
            self._ledger.append(
                conn, actor=principal.id, action="admin.handed_out", kind=KIND, subject=id_, details=details
            )
            return row

        row = await self._db.run(work)
        try:
            return row, self._boxes.open(id_, row["sealed"]).decode()
        except Unopened as error:
            raise HandoutGone("it was sealed with another cell key") from error
