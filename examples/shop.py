"""A shop in a sandbox of a control plane: orders, payments that are held and approved, an export, alerts, GO or NO-GO.

Run it: ``python examples/shop.py``. It starts a control plane of its own with PostgreSQL, Valkey and NATS, and removes
it at the end. No money, no key, nothing to install beside Valhalla.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path

from sqlalchemy import text

from valhalla import Client, SandboxOrchestrator
from valhalla.blocks.jobs import current_job
from valhalla.guard import DoneFailed, current

TABLES = """
CREATE TABLE orders (id text PRIMARY KEY, cents int NOT NULL, state text NOT NULL DEFAULT 'open');
INSERT INTO orders VALUES ('A-1', 500), ('A-2', 900), ('A-3', 250000), ('A-4', 700);
"""


class Bank:
    """A bank as the shop sees it. The real one would get the key, and know by it what it has done already."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    def charge(self, order: str, cents: int) -> str:
        """Take the money for an order."""
        if order == "A-4":
            raise DoneFailed("card declined")
        self.done[current().idempotency_key or order] = cents
        return f"receipt-{len(self.done)}"


class Shop:
    """What the shop does, every effect through the one guarded call."""

    def __init__(self, orchestrator: SandboxOrchestrator) -> None:
        self.bank = Bank()
        self._at = orchestrator
        self.half_way, self.go_on = threading.Event(), threading.Event()

    def pay(self, order: str, cents: int) -> str:
        """Pay an order; above 1,000 euros somebody of finance must agree."""
        outcome = self._at.run(
            "payment",
            self.bank.charge,
            order,
            cents,
            key=order,
            approval="1 of finance" if cents > 100_000 else None,
        )
        if outcome.ok:
            self._note(order, "paid")
        return f"{order}: {outcome.status}" + (f", {outcome.value}" if outcome.ok else "")

    def _note(self, order: str, state: str) -> None:
        with self._at.db_manager.session() as session:
            session.execute(text("UPDATE orders SET state = :state WHERE id = :id"), {"id": order, "state": state})

    def orders(self) -> list[tuple[str, int]]:
        """Return the orders that are not paid."""
        with self._at.db_manager.get_session() as session:
            rows = session.execute(text("SELECT id, cents FROM orders WHERE state = 'open' ORDER BY id"))
            return [(row.id, row.cents) for row in rows]

    def export(self, name: str) -> str:
        """Write the paid orders down, and tell how far it is."""
        job = current_job()
        with self._at.db_manager.get_session() as session:
            rows = session.execute(text("SELECT id FROM orders WHERE state = 'paid' ORDER BY id")).scalars().all()
        for number, _ in enumerate(rows, 1):
            if job is not None:
                job.check()
                job.progress(round(number / len(rows), 2))
            if number == len(rows) // 2 + 1:
                self.half_way.set()
                self.go_on.wait(30)
        return f"{name}: {', '.join(rows)}"


@contextlib.contextmanager
def control_plane() -> Generator[Client]:
    """Lend a control plane that is there for this program alone."""
    folder = Path(tempfile.mkdtemp(prefix="vh-shop-"))
    # started by root, the servers run under an account of their own
    folder.chmod(0o711)
    command = [sys.executable, "-m", "valhalla.cli", "--data-dir", str(folder / "data")]
    try:
        subprocess.run([*command, "up", "--detach"], check=True, capture_output=True)
        with Client(data_dir=folder / "data") as client:
            yield client
    finally:
        subprocess.run([*command, "down"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def pay_everything(at: SandboxOrchestrator, shop: Shop) -> None:
    """Pay what is open: dry, live, again, and with an approval."""
    print("1. A dry run: nothing is paid, and nothing is remembered as paid.")
    print("  ", [shop.pay(*order) for order in shop.orders()][:2], "charged:", len(shop.bank.done))
    at.dry_run_lock.go_live(by="ana", reason="the rehearsal looked right")
    print("2. Live: small orders are paid, a large one is held, a declined card is an alert.")
    for order in shop.orders():
        print("  ", shop.pay(*order))
    print("3. A double click is answered, not paid twice.")
    print("  ", shop.pay("A-1", 500), "- charged:", len(shop.bank.done))
    print("4. Ana of finance approves the large one; then it runs once.")
    (held,) = at.guard.waiting()
    at.guard.approve(held.id, by="ana")
    print("  ", shop.pay("A-3", 250_000), "- charged:", len(shop.bank.done))


def export_in_background(at: SandboxOrchestrator, shop: Shop) -> None:
    """Export in the worker, and look at it half way."""
    print("5. An export in the background says how far it is.")
    job = at.submit("data_export", shop.export, "march", key="export-march")
    shop.half_way.wait(30)
    record = at.worker.get_job_status(job) or {}
    print("  ", record["status"], record["progress"]["fraction"])
    shop.go_on.set()
    print("  ", at.worker.wait(job, 30)["result"].value)


def what_people_see(at: SandboxOrchestrator, client: Client) -> None:
    """Show the alerts, here and in the control plane, and whether it is a GO."""
    print("6. Alerts: here, and in the control plane.")
    for alert in at.alert_system.get_alerts(minimum="warning"):
        print(f"   {alert['severity']}: {alert['task']}: {alert['reason']}")
    until = time.monotonic() + 30
    while not (found := [one for one in client.alerts.iterate() if one.name == "payment"]):
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    print("   in the control plane:", [f"{one.severity}: {one.title}" for one in found])
    print("7. GO or NO-GO, from evidence.")
    print("  ", "GO" if at.is_ready() else "NO-GO")
    for name, passed in at.get_status()["readiness"]["checks"].items():
        print(f"   {name}: {'passed' if passed else 'failed'}")


def main() -> None:
    """Tell the story."""
    with control_plane() as client, SandboxOrchestrator(control_plane=client, roles={"ana": ["finance"]}) as at:
        at.db_manager.seed(TABLES)
        shop = Shop(at)
        pay_everything(at, shop)
        export_in_background(at, shop)
        what_people_see(at, client)
    print("8. After the end:", "GO" if at.is_ready() else "NO-GO")


if __name__ == "__main__":
    main()
