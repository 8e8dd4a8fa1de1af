"""Background work: jobs, schedules and heartbeats over the control plane's Postgres."""
