"""PostgreSQL and Redis for one benchmark, started as in the tests, in a temporary folder."""

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
    """Start both, set up Django with an empty database, and yield the folder.

    Modules that import models must be imported inside the block, because the settings read the servers' addresses.
    """
    with contextlib.ExitStack() as stack:
        # Directly below /tmp: the path of a unix socket must be short, and PostgreSQL does not run as root.
        folder = Path(tempfile.mkdtemp(prefix="mlmon-benchmark-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)
        (folder / "postgresql").mkdir()
        postgresql = start_postgresql(folder / "postgresql", settings=postgresql_settings)
        stack.callback(postgresql.stop)
        redis_server = start_redis(folder)
        stack.callback(redis_server.stop)

        for name in [name for name in os.environ if name.startswith(_OWN_VARIABLES)]:
            del os.environ[name]
        os.environ.update(
            DATABASE_URL=postgresql.url,
            REDIS_URL=redis_server.url,
            MLMON_VAR_DIR=str(folder / "var"),
            DJANGO_SETTINGS_MODULE="mlmon_site.settings",
        )
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        yield folder
