"""Whether the things that an answer depends on answer themselves."""

import redis
from django.db import DatabaseError, connection

from inference.redis_client import redis_client
from inference.serving import serving


def readiness_problems() -> dict[str, str]:
    """Return what is wrong, by component; empty when the process is ready."""
    checks = {"database": _database_problem, "redis": _redis_problem, "models": _model_problem}
    return {name: problem for name, check in checks.items() if (problem := check())}


def _database_problem() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        connection.close()
        return f"does not answer: {type(error).__name__}"
    return ""


def _redis_problem() -> str:
    try:
        redis_client().ping()
    except redis.RedisError as error:
        return f"does not answer: {type(error).__name__}"
    return ""


def _model_problem() -> str:
    try:
        snapshot = serving().snapshot()
    except DatabaseError as error:
        return f"not read: {type(error).__name__}"
    if snapshot.generation < 0:
        return "not read yet"
    return "; ".join(snapshot.load_errors())
