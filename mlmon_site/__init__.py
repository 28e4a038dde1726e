"""The Django project: settings, processes, and what every page and command shares."""

import os

# Web processes and workers share the cores. The matrix products of a check take a millisecond on one core; threads that
# wait for a core that another process has took thirty.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
