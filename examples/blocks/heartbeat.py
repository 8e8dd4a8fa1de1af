"""SchedulerHeartbeat: the watched say that they live; who never began, or fell silent, is named."""

import threading

from valhalla import SchedulerHeartbeat


def main() -> None:
    """Tell the story."""
    missed = threading.Event()
    with SchedulerHeartbeat(interval=1.0, timeout=30.0, on_missed=lambda name, _: missed.set()) as heartbeat:
        heartbeat.beat("scheduler")
        print("healthy:", heartbeat.is_healthy())
        heartbeat.expect("nightly-export", timeout=0.05)
        missed.wait(10)
        print("healthy:", heartbeat.is_healthy(), "-", heartbeat.reason())
        heartbeat.expect("nightly-export", timeout=60)
        heartbeat.beat("nightly-export")
        print("healthy:", heartbeat.is_healthy())
    print("after the stop:", heartbeat.is_healthy())


if __name__ == "__main__":
    main()
