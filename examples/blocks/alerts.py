"""AlertSystem: the same thing is one alert, and a slow subscriber delays nobody."""

from valhalla import AlertSystem


def main() -> None:
    """Tell the story."""
    with AlertSystem() as alerts:
        told: list[str] = []
        alerts.subscribe("payment*", lambda one: told.append(f"{one['severity']}: {one['reason']}"), minimum="error")
        for order in range(1000, 1250):
            alerts.alert("payment", f"order {order}: the bank does not answer", "error", {"order": order})
        alerts.flush()
        (record,) = alerts.get_alerts()
        print(record["count"], "times,", len(alerts), "alert, the last one about order", record["context"]["order"])
        print("a subscriber heard of an", told[0].partition(":")[0])
        print(alerts.acknowledge(record["id"], by="ana")["state"], "by ana")
        id_ = alerts.alert("payment", "order 9999: the bank does not answer", "critical")
        print("worse than what ana has seen:", alerts.get_alerts()[0]["state"], id_ == record["id"])


if __name__ == "__main__":
    main()
