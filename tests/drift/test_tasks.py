"""The tasks of drift, run by a real worker."""

import subprocess
import time

import numpy as np
import pytest
import redis
from django.conf import settings

from drift.models import DriftCheck
from drift.tasks import check_due_versions, check_version
from tests.factories import uploaded_version
from tests.mlmon.observed import iris_rows, observe, profiled_reference

LONGEST_WAIT_SECONDS = 60


def test_beat_starts_the_existing_task() -> None:
    assert settings.CELERY_BEAT_SCHEDULE["drift-tick"]["task"] == check_due_versions.name
    for task in (check_due_versions, check_version):
        assert task.soft_time_limit is not None
        assert task.time_limit is not None
        assert 0 < task.soft_time_limit < task.time_limit


@pytest.mark.django_db(transaction=True)
def test_a_worker_checks_what_is_due(celery_worker_process: subprocess.Popen[bytes], redis_client: redis.Redis) -> None:
    version = uploaded_version("classifier")
    profiled_reference(version, iris_rows(500))
    observe(version, np.tile([0.1, 0.5, 0.3, 0.8], (100, 1)))
    check_due_versions.delay()
    end = time.monotonic() + LONGEST_WAIT_SECONDS
    while not DriftCheck.objects.exists() and time.monotonic() < end:
        time.sleep(0.1)
    check = DriftCheck.objects.get()
    assert (check.status, check.version, check.n_drifted_features) == ("succeeded", version, 4)
