"""Somebody outside who takes money."""

from __future__ import annotations


class Provider:
    """Takes money, and says how often."""

    def __init__(self) -> None:
        self.paid: list[tuple[str, int]] = []

    def pay(self, order: str, cents: int) -> str:
        self.paid.append((order, cents))
        return f"receipt-{len(self.paid)}"
