"""A reverse proxy that sends each request where its test user's sandbox listens, and all others to production."""
