"""DryRunLock: in a dry run only what was declared reversible is called."""

from valhalla import DryRunLock


def main() -> None:
    """Tell the story."""
    lock = DryRunLock(reversible=["preview"])
    for name in ("payment", "process_payment", "preview", "read_orders"):
        print(f"{name}:", lock.execute(name, lambda: "done"))
    lock.go_live(by="ana", reason="rehearsed on Monday")
    print("live:", lock.execute("payment", lambda: "done"))
    print("written down:", [entry["status"] for entry in lock.get_execution_log("payment")])


if __name__ == "__main__":
    main()
