"""A shop that pays out refunds: what goes wrong without care, and what the guard makes of each case.

Run it: ``python examples/payments.py``. It needs no server, no key and no money.
"""

from __future__ import annotations

from valhalla.guard import (
    Done,
    Finding,
    Guard,
    Held,
    Indeterminate,
    KeyReuse,
    LimitExceeded,
    NotAnApprover,
    NotDone,
    Record,
    Retry,
    StalePlan,
    current,
)


class Provider:
    """A payment provider as they are: sometimes busy, sometimes silent after it has taken the money."""

    def __init__(self) -> None:
        self.paid: dict[str, int] = {}
        self.mood = "well"

    def pay(self, reference: str, amount: int) -> str:
        """Pay ``amount`` cents; ``reference`` is the key under which the provider remembers it."""
        if self.mood == "busy":
            self.mood = "well"
            raise NotDone("429: nothing was done", retry_after=0.01)
        self.paid[reference] = amount
        if self.mood == "silent":
            self.mood = "well"
            raise TimeoutError("no answer in 10 s")
        return f"receipt-{len(self.paid)}"


provider = Provider()
guard = Guard(roles={"ana": ["finance"], "bo": ["finance"], "cy": ["support"]})


def ask_provider(record: Record) -> Done | Finding:
    """Find out what became of a payment whose end nobody saw."""
    return Done("receipt-found") if record.id in provider.paid else Finding.NOT_DONE


@guard.action(
    "payment",
    key="order",
    limit="3/minute",
    retries=Retry(3, base=0.01),
    reconcile=ask_provider,
    simulate=lambda order, cents: "receipt-of-a-dry-run",
)
def pay(order: str, cents: int) -> str:
    """Pay a supplier."""
    reference = current().idempotency_key or order
    return provider.pay(reference, cents)


@guard.action(
    "refund",
    key="order",
    approval=lambda order, cents, iban="": "2 of finance" if cents > 10_000 else None,
    redact=["iban"],
    simulate=lambda order, cents, iban="": "receipt-of-a-dry-run",
)
def refund(order: str, cents: int, iban: str = "") -> str:
    """Give money back; above 100 euros two people of finance must agree."""
    return provider.pay(f"refund-{current().idempotency_key}", cents)


@guard.action("orders.list", effect="none")
def open_orders() -> list[tuple[str, int]]:
    """Return what is to be paid back today."""
    return [("B-1", 900), ("B-2", 1200)]


def refund_all() -> int:
    """Pay back everything that is open."""
    return len([refund(order, cents) for order, cents in open_orders()])


def say(text: str) -> None:
    """Tell the story."""
    print(text)


def repetitions() -> None:
    """Show what comes twice, comes changed, or comes too often."""
    say("1. The same order twice (a double click, a retried job): one payment, one receipt.")
    assert pay("A-1", 500) == pay("A-1", 500) == "receipt-1"
    say(f"   provider was paid {len(provider.paid)} time(s)")

    say("2. The same order with another amount is a mistake, not a repetition.")
    try:
        pay("A-1", 50_000)
    except KeyReuse as error:
        say(f"   {error.detail}")

    say("3. The provider is busy and says that nothing was done: tried again, after the pause that it asks for.")
    provider.mood = "busy"
    say(f"   {pay('A-2', 700)}")

    say("4. The provider takes the money and falls silent: nobody pays again; the next call asks it first.")
    provider.mood = "silent"
    try:
        pay("A-3", 800)
    except TimeoutError as error:
        say(f"   {error}")
    say(f"   {pay('A-3', 800)}; provider was paid {sum(v == 800 for v in provider.paid.values())} time(s)")

    say("5. Three payments a minute; a refused one is charged nothing and leaves no claim.")
    try:
        pay("A-4", 100)
    except LimitExceeded as error:
        say(f"   {error.detail}")


def approvals() -> None:
    """Show who must agree, and that what they agreed to runs once."""
    held = ""
    say("6. A large refund waits for two people; the one who asked is none of them.")
    with guard.acting("cy"):
        try:
            refund("A-1", 50_000, iban="DE89370400440532013000")
        except Held as error:
            held = error.id or held
    say(f"   approvers see {guard.get(held).summary}")
    for person in ("cy", "ana", "ana", "bo"):
        try:
            state = guard.approve(held, by=person).state
            say(f"   {person} approves: {state}")
        except NotAnApprover as error:
            say(f"   {person}: {error.detail}")
    say(f"   a worker dispatches it: {[o.value for o in guard.dispatch()]}; again: {guard.dispatch()}")


def plans() -> None:
    """Show a dry run and its application."""
    say("7. A dry run shows what would happen; the plan is applied once, and only what it shows.")
    plan = guard.plan(refund_all)
    say("   " + str(plan).replace("\n", "\n   "))
    before = len(provider.paid)
    guard.apply(plan)
    say(f"   applied: {len(provider.paid) - before} refunds")
    try:
        guard.apply(plan)
    except StalePlan as error:
        say(f"   again: {error.detail}")


def unknown_ends() -> None:
    """Show what only a person can settle."""
    say("8. What nobody can know stays unknown until a person has looked.")
    provider.mood = "silent"
    for _ in range(2):
        try:
            refund("C-1", 300)
        except TimeoutError as error:
            say(f"   {error}")
        except Indeterminate as error:
            say(f"   {error.detail}")
    (unknown,) = guard.waiting(kind="indeterminate")
    guard.settle(unknown.id, "succeeded", evidence="statement of the bank", by="ana", value="receipt-of-the-bank")
    say(f"   settled: {refund('C-1', 300)}")


if __name__ == "__main__":
    for chapter in (repetitions, approvals, plans, unknown_ends):
        chapter()
