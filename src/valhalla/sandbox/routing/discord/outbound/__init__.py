"""The way out of a sandbox's bot: a proxy that holds the real token, and lets pass what the sandbox's claims allow."""
