"""The WSGI application of a web process."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlmon_site.settings")

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from mlmon_site.processes import at_process_end
from monitoring.metrics.slots import enable_multiprocess_metrics

enable_multiprocess_metrics(settings.MLMON_METRICS_DIR)  # before Django's setup imports the metrics

application = get_wsgi_application()

# These imports need Django to be set up.
from inference.serving import serving, stop_serving  # noqa: E402

serving().start()
at_process_end(stop_serving)
