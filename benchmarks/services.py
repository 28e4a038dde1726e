"""PostgreSQL and Redis for one benchmark, as the tests start them: in a folder of their own, gone at the end."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.services.postgresql import FORGETFUL, start_postgresql
from tests.services.redis_server import start_redis

_OWN_VARIABLES = ("MLMON_", "DATABASE_URL", "REDIS_URL", "PROMETHEUS_MULTIPROC_DIR", "DJANGO_SETTINGS_MODULE")


@contextlib.contextmanager
def own_services(*, postgresql_settings: Mapping[str, str] = FORGETFUL) -> Iterator[Path]:
    """Run both, set Django up with them on an empty database, and give the folder."""
    with contextlib.ExitStack() as ends:
        # Directly below /tmp: a unix socket's path is short, and PostgreSQL runs as another user than root.
        folder = Path(tempfile.mkdtemp(prefix="mlmon-fleet-", dir="/tmp"))
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)
        (folder / "postgresql").mkdir()
        postgresql = start_postgresql(folder / "postgresql", settings=postgresql_settings)
        ends.callback(postgresql.stop)
        redis_server = start_redis(folder)
        ends.callback(redis_server.stop)
        _set_django_up(DATABASE_URL=postgresql.url, REDIS_URL=redis_server.url, MLMON_VAR_DIR=str(folder / "var"))
        yield folder


def _set_django_up(**variables: str) -> None:
    for name in [name for name in os.environ if name.startswith(_OWN_VARIABLES)]:
        del os.environ[name]
    os.environ.update(variables, DJANGO_SETTINGS_MODULE="mlmon_site.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
