"""Signing in with an OpenID Connect issuer: authorization code with PKCE; its word is verified, then made a person."""
