"""docs/configuration.md agrees with the settings."""

import ast
import re

from django.conf import settings

from mlmon_site import checks

PAGE = (settings.BASE_DIR / "docs" / "configuration.md").read_text()


def _read_variables() -> set[str]:
    """Return every variable that settings.py and environment.py read."""
    names = set()
    for source in ("settings.py", "environment.py"):
        for node in ast.walk(ast.parse((settings.BASE_DIR / "mlmon_site" / source).read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="env")), args=[ast.Constant(value=name), *_]):
                    names.add(str(name))
    return names


def test_every_variable_is_on_the_page_and_the_page_names_no_other() -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, flags=re.MULTILINE))
    read = _read_variables()
    assert "DATABASE_URL" in read
    assert len(read) > 20
    assert documented == read


def test_every_check_is_on_the_page_and_the_page_names_no_other() -> None:
    raised = set(re.findall(r'id="(mlmon\.[EW]\d{3})"', (settings.BASE_DIR / "mlmon_site" / "checks.py").read_text()))
    assert checks.check_production.__doc__
    assert set(re.findall(r"^\| `(mlmon\.[EW]\d{3})` \|", PAGE, flags=re.MULTILINE)) == raised


def test_defaults_on_the_page_are_the_settings() -> None:
    for name, default in re.findall(r"^\| `(MLMON_[A-Z_]+)` \| `(\d+)` \|", PAGE, flags=re.MULTILINE):
        setting = {"MLMON_MAX_BODY_BYTES": "DATA_UPLOAD_MAX_MEMORY_SIZE"}.get(name, name)
        assert getattr(settings, setting) == int(default), name
