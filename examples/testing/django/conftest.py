"""pytest-django on sandboxes: no test database is made, none is dropped, and no CREATEDB right is needed."""

import pytest
from django.core.management import call_command
from django.db import connections


def use(sandbox):
    """Let Django's default connection open this sandbox; return what it opened before."""
    access = sandbox.connection.postgres
    default = connections["default"]
    default.close()
    before = dict(default.settings_dict)
    default.settings_dict.update(
        NAME=access.database, USER=access.user, PASSWORD=access.password, HOST=access.host, PORT=access.port
    )
    return before


@pytest.fixture(scope="session")
def django_db_setup(sandbox_session, django_db_blocker):
    """The run's sandbox in place of the test database."""
    with django_db_blocker.unblock():
        use(sandbox_session)
        call_command("migrate", verbosity=0)
    yield
    connections.close_all()


@pytest.fixture
def own_database(transactional_db, sandbox):
    """A sandbox for one test: several connections, locks, commits, nothing to flush afterwards."""
    before = use(sandbox)
    call_command("migrate", verbosity=0)
    yield sandbox
    connections["default"].close()
    connections["default"].settings_dict.update(before)
