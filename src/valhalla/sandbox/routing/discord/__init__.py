"""Discord: its gateway's events into lanes, and what bots in sandboxes may say to it."""
