"""The system checks of the settings."""

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.core.management import call_command
from pytest_django.fixtures import Settings

from mlmon_site.checks import check_folders, check_production, check_redis_url


def _ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


@pytest.fixture
def production(settings: Settings) -> Settings:
    """Settings that pass every check."""
    settings.IS_PRODUCTION = True
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["mlmon.example"]
    settings.MLMON_API_ACCESS = "token"
    return settings


def test_valid_production_settings_pass(production: Settings) -> None:
    assert check_production(None) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DEBUG", True, "mlmon.E001"),
        ("ALLOWED_HOSTS", ["mlmon.example", "*"], "mlmon.W001"),
        ("MLMON_API_ACCESS", "open", "mlmon.W002"),
    ],
)
def test_an_unsafe_setting_in_production_is_reported(
    name: str, value: Any, expected: str, production: Settings
) -> None:
    setattr(production, name, value)
    assert _ids(check_production(None)) == [expected]


def test_sqlite_in_production_is_reported(production: Settings) -> None:
    engine = production.DATABASES["default"]["ENGINE"]
    production.DATABASES["default"]["ENGINE"] = "django.db.backends.sqlite3"
    try:
        assert _ids(check_production(None)) == ["mlmon.E002"]
    finally:
        production.DATABASES["default"]["ENGINE"] = engine


def test_the_embedded_run_may_be_open(settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "open"
    assert check_production(None) == []


@pytest.mark.parametrize("url", ["http://redis.example", "redis.example:6379", "sentinel://redis.example"])
def test_other_redis_urls_are_reported(url: str, settings: Settings) -> None:
    settings.REDIS_URL = url
    assert _ids(check_redis_url(None)) == ["mlmon.E003"]


def test_a_missing_folder_that_can_be_created_passes(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "not" / "there" / "yet"
    assert check_folders(None) == []


def test_a_file_in_place_of_a_folder_is_reported(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    settings.MEDIA_ROOT = tmp_path / "taken" / "media"
    assert _ids(check_folders(None)) == ["mlmon.E004"]


def test_the_checks_run_before_the_database_has_tables() -> None:
    call_command("check")  # a test that is not marked with django_db cannot query the database
