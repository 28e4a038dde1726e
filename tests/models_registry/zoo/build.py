"""Build the zoo's files: `python -m tests.models_registry.zoo.build [NAME…]`.

A NAME is a model's name or the start of one ("sklearn-", "torch-"). Without names everything is built that the
installed frameworks allow.
"""

import importlib
import json
import re
import sys
import traceback
import warnings
from pathlib import Path

from tests.models_registry.zoo import FILES
from tests.models_registry.zoo.entry import Recipes, write

_MODULES = ("scikit_learn", "pipelines", "boosting", "pytorch", "keras_models")
_NOT_EXPORTED = Path(__file__).parent / "not_exported.json"


def recipes() -> Recipes:
    """Return the recipes of all modules whose frameworks are installed."""
    found: Recipes = {}
    for name in _MODULES:
        try:
            module = importlib.import_module(f"tests.models_registry.zoo.{name}")
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)  # noqa: T201
            continue
        found |= module.recipes()
    return found


def main(prefixes: list[str]) -> None:
    """Build the models whose names start with one of the prefixes, and list what could not be exported."""
    warnings.simplefilter("ignore")
    FILES.mkdir(exist_ok=True)
    failures = json.loads(_NOT_EXPORTED.read_text(encoding="utf-8")) if _NOT_EXPORTED.exists() else {}
    for name, recipe in recipes().items():
        if prefixes and not name.startswith(tuple(prefixes)):
            continue
        failures.pop(name, None)
        try:
            print(f"{name}: {write(name, recipe())}", flush=True)  # noqa: T201
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            message = str(error).strip().splitlines()[0] if str(error).strip() else ""
            message = re.sub(r"\x1b\[\d+m", "", message)
            failures[name] = f"{type(error).__name__} in {Path(last.filename).name}: {message}"[:300]
            print(f"{name}: NOT EXPORTED: {failures[name]}", flush=True)  # noqa: T201
            for left in FILES.glob(f"{name}.*"):
                left.unlink()
    _NOT_EXPORTED.write_text(json.dumps(failures, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
