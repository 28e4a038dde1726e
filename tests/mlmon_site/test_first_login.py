"""The first login of the embedded run."""

import stat
from pathlib import Path

import pytest
from django.contrib.auth import authenticate, get_user_model

from mlmon_site.management.commands.run import ensure_login

pytestmark = pytest.mark.django_db


def test_the_first_start_creates_an_administrator_with_a_random_password(tmp_path: Path) -> None:
    login = ensure_login(password_path=tmp_path / "password")
    assert login.new_password is not None
    assert len(login.new_password) == 16  # 12 random bytes in base64
    user = authenticate(username=login.username, password=login.new_password)
    assert user is not None
    assert user.is_superuser
    assert login.new_password not in user.password
    assert (tmp_path / "password").read_text() == login.new_password
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600


def test_a_later_start_changes_nothing(tmp_path: Path) -> None:
    ensure_login(password_path=tmp_path / "password")
    hashed = get_user_model().objects.get().password
    assert ensure_login(password_path=tmp_path / "password").new_password is None
    assert get_user_model().objects.get().password == hashed


def test_two_folders_get_two_passwords(tmp_path: Path) -> None:
    first = ensure_login(password_path=tmp_path / "a").new_password
    get_user_model().objects.all().delete()
    assert ensure_login(password_path=tmp_path / "b").new_password != first


def test_an_interrupted_first_start_keeps_its_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("written-then-killed")
    assert ensure_login(password_path=tmp_path / "password").new_password == "written-then-killed"
