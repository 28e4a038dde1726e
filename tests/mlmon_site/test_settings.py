"""How environment variables become settings, each case in its own process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
PRODUCTION = {
    "MLMON_ENVIRONMENT": "production",
    "MLMON_SECRET_KEY": "k" * 20 + "0123456789" * 4,
    "MLMON_ALLOWED_HOSTS": "mlmon.example,www.mlmon.example",
    "DATABASE_URL": "postgres://mlmon:secret@db.example:5433/mlmon",
    "REDIS_URL": "redis://redis.example:6380/2",
}


def _evaluate(expression: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Evaluate `expression` on the settings in a process with exactly these variables, and return the output."""
    program = f"from mlmon_site import settings; print(({expression}))"
    environment = {"PATH": os.environ["PATH"], "MLMON_VAR_DIR": str(folder / "var"), **variables}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )


def _value(expression: str, folder: Path, **variables: str) -> str:
    result = _evaluate(expression, folder, **variables)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_default_is_the_embedded_run(tmp_path: Path) -> None:
    var = tmp_path / "var"
    expression = "settings.DATABASES['default']['NAME'], settings.REDIS_URL, settings.CELERY_BROKER_URL"
    assert _value(expression, tmp_path) == str(
        (f"{var}/mlmon.sqlite3", f"unix://{var}/valkey.sock?db=0", f"redis+socket://{var}/valkey.sock?virtual_host=0")
    )
    assert _value("settings.MLMON_API_ACCESS, settings.DEBUG, settings.ALLOWED_HOSTS", tmp_path) == str(
        ("open", False, ["localhost", "127.0.0.1", "[::1]"])
    )


def test_sqlite_locks_at_the_start_of_a_transaction(tmp_path: Path) -> None:
    assert _value("settings.DATABASES['default']['OPTIONS']['transaction_mode']", tmp_path) == "IMMEDIATE"


def test_the_secret_key_is_created_once_and_readable_only_by_its_owner(tmp_path: Path) -> None:
    first = _value("settings.SECRET_KEY", tmp_path)
    assert len(first) >= 50
    assert _value("settings.SECRET_KEY", tmp_path) == first
    assert (tmp_path / "var" / "secret_key").stat().st_mode & 0o777 == 0o600


def test_an_empty_secret_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "secret_key").touch()
    assert "is empty. Delete it" in _evaluate("1", tmp_path).stderr


def test_deep_folder_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    socket = _value("settings.VALKEY_SOCKET", tmp_path, MLMON_VAR_DIR=str(deep))
    assert len(socket) <= 100
    assert socket == _value("settings.VALKEY_SOCKET", tmp_path, MLMON_VAR_DIR=str(deep))


def test_production_settings(tmp_path: Path) -> None:
    expression = (
        "settings.DATABASES['default']['HOST'], settings.DATABASES['default']['PORT'], settings.CELERY_BROKER_URL, "
        "settings.ALLOWED_HOSTS, settings.MLMON_API_ACCESS, settings.SESSION_COOKIE_SECURE, "
        "settings.LOGGING['handlers']['console']['formatter']"
    )
    assert _value(expression, tmp_path, **PRODUCTION) == str(
        ("db.example", 5433, PRODUCTION["REDIS_URL"], ["mlmon.example", "www.mlmon.example"], "token", True, "json")
    )


def test_production_generates_no_secret_key(tmp_path: Path) -> None:
    _value("settings.SECRET_KEY", tmp_path, **PRODUCTION)
    assert not (tmp_path / "var" / "secret_key").exists()


@pytest.mark.parametrize("missing", ["MLMON_SECRET_KEY", "MLMON_ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL"])
def test_production_requires(missing: str, tmp_path: Path) -> None:
    variables = {name: value for name, value in PRODUCTION.items() if name != missing}
    result = _evaluate("1", tmp_path, **variables)
    assert result.returncode != 0
    assert f"{missing} (or {missing}_FILE) must be set when MLMON_ENVIRONMENT=production." in result.stderr


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("f" * 60)
    variables = {**PRODUCTION, "MLMON_SECRET_KEY_FILE": str(secret)}
    del variables["MLMON_SECRET_KEY"]
    assert _value("settings.SECRET_KEY", tmp_path, **variables) == "f" * 60


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MLMON_DEBUG", "yes", "MLMON_DEBUG must be True or False, not 'yes'."),
        ("MLMON_HTTPS", "true", "MLMON_HTTPS must be True or False, not 'true'."),
        ("MLMON_ENVIRONMENT", "prod", "MLMON_ENVIRONMENT must be one of embedded, production, not 'prod'."),
        ("MLMON_API_ACCESS", "none", "MLMON_API_ACCESS must be one of token, open, not 'none'."),
        ("MLMON_LOG_LEVEL", "LOUD", "MLMON_LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("MLMON_MAX_BODY_BYTES", "0", "MLMON_MAX_BODY_BYTES must be a whole number greater than 0, not '0'."),
        ("MLMON_MAX_BODY_BYTES", "1e6", "MLMON_MAX_BODY_BYTES must be a whole number greater than 0, not '1e6'."),
        ("MLMON_MAX_BODY_BYTES", "-5", "MLMON_MAX_BODY_BYTES must be a whole number greater than 0, not '-5'."),
        ("MLMON_MAX_BODY_BYTES", "000", "MLMON_MAX_BODY_BYTES must be a whole number greater than 0, not '000'."),
        ("MLMON_MAX_BODY_BYTES", "9" * 5000, "MLMON_MAX_BODY_BYTES must be at most 9223372036854775807, not"),
        ("MLMON_ARCHIVE_RETENTION_DAYS", "36501", "MLMON_ARCHIVE_RETENTION_DAYS must be at most 36500, not '36501'."),
        ("MLMON_GROUND_TRUTH_RETENTION_DAYS", "2147483647", "must be at most 36500, not '2147483647'."),
        ("MLMON_DRIFT_TICK_SECONDS", "9" * 18, "MLMON_DRIFT_TICK_SECONDS must be at most 86400, not"),
        ("MLMON_ARCHIVE_TICK_SECONDS", "86401", "MLMON_ARCHIVE_TICK_SECONDS must be at most 86400, not '86401'."),
        ("MLMON_PERFORMANCE_TICK_SECONDS", "86401", "must be at most 86400, not '86401'."),
        ("MLMON_CAPTURE_FLUSH_MS", "3600001", "MLMON_CAPTURE_FLUSH_MS must be at most 3600000, not '3600001'."),
        ("MLMON_PREDICTION_TIMEOUT_MS", "3600001", "must be at most 3600000, not '3600001'."),
    ],
)
def test_an_invalid_value_stops_the_start(name: str, value: str, message: str, tmp_path: Path) -> None:
    result = _evaluate("1", tmp_path, **{name: value})
    assert result.returncode != 0
    assert message in result.stderr


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://host:6379/1", "redis://host:6379/1"),
        ("rediss://:pw@host:6379/1", "rediss://:pw@host:6379/1"),
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
    ],
)
def test_broker_url_is_kombus_spelling(url: str, broker: str, tmp_path: Path) -> None:
    assert _value("settings.CELERY_BROKER_URL", tmp_path, REDIS_URL=url) == broker
