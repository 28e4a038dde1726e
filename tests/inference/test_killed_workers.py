"""Archiving workers that are killed with -9: no row is lost or archived twice."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.conftest import environment_of_tests
from tests.inference.observed import registered_version, streamed_ids

PROJECT = Path(__file__).resolve().parent.parent.parent
SHOW = """
import json, sys, django
django.setup()
from inference.models import ArchivePosition, ObservationChunk
from tests.inference.observed import archived_ids
version_id = int(sys.argv[1])
positions = ArchivePosition.objects.filter(version=version_id)
print(json.dumps({
    "ids": [one.hex() for one in archived_ids(version_id)],
    "positions": list(positions.values_list("stream_number", "rows_seen", "rows_archived", "rows_lost")),
    "chunks": ObservationChunk.objects.count(),
}))
"""


def output_of(environment: Mapping[str, str], *arguments: str) -> Any:
    """Return the JSON that a Python program prints."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, env=dict(environment), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(300)  # starts a process for each line
@pytest.mark.parametrize("job", ["archive", "compact"])
def test_every_row_is_archived_once_although_workers_are_killed_before_each_line(
    redis_client: redis.Redis, job: str
) -> None:
    version_id, environment = registered_version("killed").pk, environment_of_tests()
    killed_at = output_of(environment, "-m", "tests.inference.killed_archiver", job, str(version_id))
    found = output_of(environment, "-c", SHOW, str(version_id))
    expected = [one.hex() for one in streamed_ids(redis_client, version_id)]
    assert len(set(killed_at)) == len(killed_at) > 15
    assert len(expected) == 3 * (len(killed_at) + 1)
    assert found["ids"] == expected
    assert found["positions"] == [[1, len(expected), len(expected), 0]]
