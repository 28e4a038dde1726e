"""The tests run on real services."""

import os

import pytest
import redis
from django.db import connection


@pytest.mark.django_db
def test_the_suite_runs_on_postgresql() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), version()")
        name, version = cursor.fetchone()
    assert name.startswith("test_")
    assert version.startswith("PostgreSQL")


def test_redis_is_emptied_before_a_test(redis_client: redis.Redis) -> None:
    assert redis_client.dbsize() == 0
    redis_client.set("left", "behind")


def test_redis_is_emptied_after_a_test(redis_client: redis.Redis) -> None:
    assert redis_client.get("left") is None
    assert os.environ["REDIS_URL"].startswith("redis://127.0.0.1:")
