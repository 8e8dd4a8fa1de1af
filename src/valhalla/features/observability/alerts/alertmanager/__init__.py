"""The part of Alertmanager's API (v2) that Prometheus, amtool and dashboards use, over the same alerts."""
