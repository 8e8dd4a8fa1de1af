"""SandboxReadinessChecker: GO or NO-GO from evidence; what never answers is no GO, and holds up nobody."""

import threading

from valhalla import SandboxDatabaseManager, SandboxReadinessChecker


def main() -> None:
    """Tell the story."""
    with SandboxDatabaseManager(use_memory=True) as database, SandboxReadinessChecker() as checker:
        checker.register_check("database", lambda: database.probe() is None)
        print("before anybody looked:", checker.is_ready())
        print(checker.run_all_checks(), "GO" if checker.is_ready() else "NO-GO")
        checker.register_check("bank", lambda: threading.Event().wait(), timeout=0.05)
        print(checker.run_all_checks(), "GO" if checker.is_ready() else "NO-GO", "-", checker.get_status()["reason"])
    print("after the end:", checker.is_ready())


if __name__ == "__main__":
    main()
