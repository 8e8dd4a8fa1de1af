"""A read-only GraphQL view over the API: its models, its filters and cursors, its scopes, its problems."""
