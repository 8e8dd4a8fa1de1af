"""The decoys that a new control plane begins with: what scanners ask for first."""

from __future__ import annotations

from typing import Final

from valhalla.features.security.honeypots.contracts import Decoy, Face

_PATHS: Final[tuple[tuple[str, str, Face], ...]] = (
    ("env", "/.env", "env"),
    ("env-more", "/.env.*", "env"),
    ("git", "/.git/*", "forbidden"),
    ("aws", "/.aws/*", "forbidden"),
    ("ssh", "/.ssh/*", "forbidden"),
    ("wp-login", "/wp-login.php", "login"),
    ("wp-admin", "/wp-admin/*", "login"),
    ("xmlrpc", "/xmlrpc.php", "none"),
    ("phpmyadmin", "/phpmyadmin/*", "login"),
    ("phpunit", "/vendor/phpunit/*", "none"),
    ("cgi-bin", "/cgi-bin/*", "none"),
    ("actuator", "/actuator/*", "json"),
    ("server-status", "/server-status", "forbidden"),
    ("admin-php", "/admin.php", "login"),
    ("backup-sql", "/backup.sql", "none"),
    ("solr", "/solr/*", "none"),
    ("owa", "/owa/*", "login"),
)

STOCK: Final = tuple(Decoy(name=name, kind="path", path=path, face=face) for name, path, face in _PATHS)
