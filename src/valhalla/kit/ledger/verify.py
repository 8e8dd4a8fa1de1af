"""Walk the whole ledger and name the first thing that is not as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain as concat

from sqlalchemy.engine import Connection, RowMapping

from valhalla.kit.ledger import store
from valhalla.kit.ledger.chain import GENESIS, Keys, content, link
from valhalla.kit.ledger.values import Anchor, Fault, FaultKind, Verification

_COPIES = 1000


def verify(conn: Connection, keys: Keys, *, batch: int, anchor: Anchor | None) -> Verification:
    """See ``Ledger.verify``. Rows that are sealed meanwhile belong to the next verification."""
    return _Walk(conn, keys, batch, anchor).run()


class _Walk:
    def __init__(self, conn: Connection, keys: Keys, batch: int, anchor: Anchor | None) -> None:
        self._conn = conn
        self._keys = keys
        self._batch = batch
        self._anchor = anchor
        self._copies = store.copies(conn, _COPIES)
        self._met: set[bytes] = set()
        self._sealed = self._unsealed = self._checkpoints = 0
        self._head = GENESIS
        self._signature = b""
        self._proven = 0

    def run(self) -> Verification:
        fault = self._sealed_fault() or self._unsealed_fault()
        end = Anchor(self._sealed, self._head) if fault is None and self._sealed else None
        return Verification(fault is None, self._sealed, self._unsealed, self._checkpoints, fault, end)

    def _sealed_fault(self) -> Fault | None:
        last_row, last_checkpoint = store.ends(self._conn)
        end = max(last_row, last_checkpoint)
        signed = store.signed(self._conn, upto=end, batch=self._batch)
        checkpoint = next(signed, None)
        for row in store.chain(self._conn, upto=end, batch=self._batch):
            if fault := self._row_fault(row, last_checkpoint):
                return fault
            self._sealed, self._head = row["seq"], bytes(row["hash"])
            if checkpoint is not None and checkpoint["seq"] <= self._sealed:
                if fault := self._checkpoint_fault(checkpoint, row):
                    return fault
                checkpoint = next(signed, None)
            if self._anchor is not None and self._anchor.seq == self._sealed and self._anchor.hash != self._head:
                return self._rewritten(row, "the anchor")
        return self._end_fault(last_checkpoint, concat(() if checkpoint is None else (checkpoint,), signed))

    def _row_fault(self, row: RowMapping, last_checkpoint: int) -> Fault | None:
        place = self._sealed + 1
        if row["seq"] != place:
            return self._missing(row, place)
        if fault := self._content_fault(row):
            return fault
        said, prev, stored = content(row), bytes(row["prev"]), bytes(row["hash"])
        right = link(self._head, row["id"], said, bytes(row["mac"]))
        if prev == self._head and stored == right:
            if place > last_checkpoint:
                return _fault("checkpoint-forged", row, "is sealed, but the checkpoint that was signed with it is gone")
            return None
        return self._link_fault(row, right)

    def _link_fault(self, row: RowMapping, right: bytes) -> Fault:
        place, prev, stored = row["seq"], bytes(row["prev"]), bytes(row["hash"])
        if stored == right or store.prev_after(self._conn, place) == right:
            return _fault("altered", row, "has a link to its neighbours that was changed")
        if (other := self._belongs_here(row)) is not None:
            return _fault("reordered", row, f"stands where entry {other} belongs")
        if prev != self._head and stored == link(prev, row["id"], content(row), bytes(row["mac"])):
            return _fault("deleted", row, "follows an entry that is gone")
        return _fault("altered", row, "does not match its hash")

    def _content_fault(self, row: RowMapping) -> Fault | None:
        nonce = bytes(row["nonce"])
        if not self._keys.is_ours(nonce):
            return _fault("inserted", row, "was not written by Valhalla")
        if self._keys.mac(content(row)) != bytes(row["mac"]):
            return _fault("altered", row, "does not say what was written")
        if nonce in self._copies:
            if nonce in self._met:
                return _fault("inserted", row, "is a copy of an earlier entry")
            self._met.add(nonce)
        return None

    def _missing(self, row: RowMapping, place: int) -> Fault:
        if row["seq"] < place:
            return _fault("inserted", row, f"claims place {row['seq']}, before the chain begins")
        gone = row["seq"] - place
        what = f"entry {place} is gone" if gone == 1 else f"the entries {place} to {row['seq'] - 1} are gone"
        return Fault("deleted", place, None, f"{what}: the chain goes on at {row['seq']}")

    def _belongs_here(self, row: RowMapping) -> int | None:
        """Find the row whose content belongs in this place; one pass over the ledger, only once a fault is known."""
        places = store.chain(self._conn, upto=2**63 - 1, batch=self._batch)
        stored = bytes(row["hash"])
        for other in concat(places, store.tail(self._conn, batch=self._batch)):
            if other["id"] == row["id"]:
                continue
            said, mac = content(other), bytes(other["mac"])
            moved = other["prev"] is not None and bytes(other["prev"]) == self._head
            if moved and bytes(other["hash"]) == link(self._head, other["id"], said, mac):
                return other["id"]
            if stored == link(self._head, row["id"], said, mac):
                return other["id"]
        return None

    def _checkpoint_fault(self, checkpoint: RowMapping, row: RowMapping) -> Fault | None:
        if fault := self._signature_fault(checkpoint):
            return fault
        if checkpoint["seq"] != row["seq"] or bytes(checkpoint["hash"]) != self._head:
            return self._rewritten(row, f"the signed checkpoint {checkpoint['seq']}")
        self._proven = self._sealed
        return None

    def _signature_fault(self, checkpoint: RowMapping) -> Fault | None:
        seq, signature = checkpoint["seq"], bytes(checkpoint["signature"])
        if not self._keys.signed(signature, seq, bytes(checkpoint["hash"]), checkpoint["sealed_at"], self._signature):
            return Fault("checkpoint-forged", seq, None, f"checkpoint {seq} is not ours, or the one before it is gone")
        self._checkpoints += 1
        self._signature = signature
        return None

    def _rewritten(self, row: RowMapping, witness: str) -> Fault:
        first = self._proven + 1
        return Fault(
            "altered",
            first,
            row["id"] if first == row["seq"] else None,
            f"the entries {first} to {row['seq']} were rewritten with their links: {witness} says otherwise",
        )

    def _end_fault(self, last_checkpoint: int, rest: Iterator[RowMapping]) -> Fault | None:
        for checkpoint in rest:
            if fault := self._signature_fault(checkpoint):
                return fault
        end = max(last_checkpoint, self._anchor.seq if self._anchor else 0)
        if end > self._sealed:
            first = self._sealed + 1
            return Fault("truncated", first, None, f"the entries {first} to {end} were cut off the end")
        return None

    def _unsealed_fault(self) -> Fault | None:
        for row in store.tail(self._conn, batch=self._batch):
            if fault := self._content_fault(row):
                return fault
            self._unsealed += 1
        return None


def _fault(kind: FaultKind, row: RowMapping, predicate: str) -> Fault:
    place = f" at place {row['seq']}" if row["seq"] is not None else ""
    return Fault(kind, row["seq"], row["id"], f"entry {row['id']}{place} {predicate}")
