"""IdempotencyManager: one effect per key, also for callers at the same moment."""

import time
from concurrent.futures import ThreadPoolExecutor

from valhalla import IdempotencyManager
from valhalla.guard import KeyReuse


def main() -> None:
    """Tell the story."""
    orders = IdempotencyManager()
    made: list[str] = []

    def order(item: str) -> str:
        time.sleep(0.01)
        made.append(item)
        return f"order-{len(made)}"

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(orders.process_idempotent, "cart-7", order, "helmet") for _ in range(8)]
        print({call.result() for call in calls}, "made", len(made), "time")
    try:
        orders.process_idempotent("cart-7", order, "shield")
    except KeyReuse as refused:
        print(refused.detail)


if __name__ == "__main__":
    main()
