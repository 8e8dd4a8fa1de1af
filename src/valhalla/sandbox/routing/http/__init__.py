"""Live traffic that comes by HTTP: webhooks as events, and requests to whose sandbox they belong to."""
