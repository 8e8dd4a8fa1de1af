"""Where the requests of sandboxes go."""
