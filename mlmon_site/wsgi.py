"""Django in a web process: its WSGI handler, and what each process must start for itself."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlmon_site.settings")

import pyarrow as pa
from django.conf import settings
from django.core.wsgi import get_wsgi_application

from mlmon_site.processes import at_process_end, keep_freed_memory
from monitoring.metrics.slots import enable_multiprocess_metrics

enable_multiprocess_metrics(settings.MLMON_METRICS_DIR)  # before Django's setup imports the metrics

application = get_wsgi_application()

# These imports need Django to be set up.
from inference.services.kserve_events import event_receiver, stop_receiving  # noqa: E402
from inference.serving import serving, stop_serving  # noqa: E402


def start_process() -> None:
    """Start what a web process cannot share with the others: model sessions, connections and threads."""
    keep_freed_memory()
    pa.set_memory_pool(pa.system_memory_pool())  # so that this holds for Arrow too
    serving().start()
    event_receiver().start()
    at_process_end(_stop)


def _stop() -> None:
    """Process the events that are queued, then write the observations and counts."""
    stop_receiving()
    stop_serving()
